;; A component (not a core module): functions on strings and records.
;;
;;   greet: func(name: string) -> string
;;   scale: func(p: point, by: s32) -> point        point is record { x: s32, y: s32 }
(component
  (core module $code
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (data (i32.const 16) "Hello, ")

    ;; The canonical ABI's allocator; nothing is ever given back, a call is all there is.
    (func $realloc (export "realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      ;; round up to the alignment, a power of two
      (local.set $at
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits
          (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $fits
          (i32.ne
            (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))
            (i32.const -1)))
        unreachable)
      (local.get $at))

    ;; "Hello, " name "!"; the answer is a pointer to a (pointer, length) pair.
    (func (export "greet") (param $name i32) (param $len i32) (result i32)
      (local $text i32)
      (local.set $text
        (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
          (i32.add (local.get $len) (i32.const 8))))
      (memory.copy (local.get $text) (i32.const 16) (i32.const 7))
      (memory.copy (i32.add (local.get $text) (i32.const 7)) (local.get $name) (local.get $len))
      (i32.store8
        (i32.add (i32.add (local.get $text) (i32.const 7)) (local.get $len)) (i32.const 33))
      (i32.store (i32.const 0) (local.get $text))
      (i32.store (i32.const 4) (i32.add (local.get $len) (i32.const 8)))
      (i32.const 0))

    (func (export "scale") (param $x i32) (param $y i32) (param $by i32) (result i32)
      (i32.store (i32.const 8) (i32.mul (local.get $x) (local.get $by)))
      (i32.store (i32.const 12) (i32.mul (local.get $y) (local.get $by)))
      (i32.const 8)))

  (core instance $i (instantiate $code))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))

  (type $point-type (record (field "x" s32) (field "y" s32)))
  (export $point "point" (type $point-type))

  (func (export "greet") (param "name" string) (result string)
    (canon lift (core func $i "greet") (memory $memory) (realloc $realloc)))
  (func (export "scale") (param "p" $point) (param "by" s32) (result $point)
    (canon lift (core func $i "scale") (memory $memory))))
