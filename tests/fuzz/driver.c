/* A small mutation driver for where libFuzzer is not: every file of the corpus, then mutations of
 * them for so many seconds.
 *
 * usage: fuzz_NAME CORPUS-FOLDER [SECONDS [SEED]]     or     fuzz_NAME FILE     (replay one input)
 *
 * The input at hand always stands in the file FUZZ_INPUT names, so a crash can be replayed. An input
 * that takes longer than 20 seconds ends the process. The last line is
 * "NAME: corpus N, inputs M, seed S". */
#include "tests/fuzz/fuzz.h"

#include "util/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX (64u << 10)
#define MAX_CORPUS 512
#define STALL_S 20

struct input {
    uint8_t *data;
    size_t len;
};

static struct input corpus[MAX_CORPUS];
static size_t n_corpus;
static uint64_t random_state;

/* splitmix64: what matters is that a seed repeats the run */
static uint64_t next_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return n ? (size_t)(next_random() % n) : 0;
}

/* --- the input at hand, in a file that outlives a crash --- */

static uint8_t *mirror; /* 8 bytes of length, then the input */

static void open_mirror(void)
{
    const char *path = getenv("FUZZ_INPUT");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    void *p = MAP_FAILED;
    if (ftruncate(fd, INPUT_MAX + 8) == 0)
        p = mmap(NULL, INPUT_MAX + 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    mirror = p == MAP_FAILED ? NULL : p;
}

static void run(const uint8_t *data, size_t len)
{
    if (mirror) {
        uint64_t n = len;
        memcpy(mirror, &n, sizeof n);
        if (len)
            memcpy(mirror + 8, data, len);
    }
    /* a copy of just that size: reading past its end is seen */
    uint8_t *copy = prop_alloc(len ? len : 1);
    FUZZ_CHECK(copy);
    if (len)
        memcpy(copy, data, len);
    (void)alarm(STALL_S);
    (void)LLVMFuzzerTestOneInput(copy, len);
    prop_free(copy);
}

/* --- corpus --- */

static void add_file(const char *path)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf bytes = PROP_BUF_INIT(INPUT_MAX);
    if (n_corpus == MAX_CORPUS || prop_file_read(path, &bytes, &err) != 0)
        fuzz_fail(n_corpus == MAX_CORPUS ? "too many inputs" : err.message, path, 0);
    corpus[n_corpus].data = prop_alloc(bytes.len ? bytes.len : 1);
    corpus[n_corpus].len = bytes.len;
    FUZZ_CHECK(corpus[n_corpus].data);
    if (bytes.len)
        memcpy(corpus[n_corpus].data, bytes.data, bytes.len);
    n_corpus++;
    prop_buf_release(&bytes);
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* Sorted, so that a seed means the same everywhere. */
static void add_folder(const char *folder)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, visible, alphasort);
    FUZZ_CHECK(n > 0);
    for (int i = 0; i < n; i++) {
        prop_auto_free char *path = prop_path_join(folder, names[i]->d_name);
        FUZZ_CHECK(path);
        add_file(path);
        free(names[i]);
    }
    free(names);
}

/* --- mutations of `in`, in place; `len` may grow to INPUT_MAX --- */

static size_t insert(uint8_t *in, size_t len, size_t at, const void *what, size_t n)
{
    if (n > INPUT_MAX - len)
        return len;
    memmove(in + at + n, in + at, len - at);
    memmove(in + at, what, n);
    return len + n;
}

static size_t erase(uint8_t *in, size_t len, size_t at, size_t n)
{
    memmove(in + at, in + at + n, len - at - n);
    return len - n;
}

static size_t insert_word(uint8_t *in, size_t len)
{
    size_t n = 0;
    while (fuzz_words[n])
        n++;
    const char *word = n ? fuzz_words[below(n)] : "0";
    size_t at = below(len + 1), cut = below(2) ? strlen(word) : 0;
    if (cut <= len - at)
        len = erase(in, len, at, cut);
    return insert(in, len, at, word, strlen(word));
}

/* A piece of another input, or of this one, somewhere. */
static size_t insert_piece(uint8_t *in, size_t len)
{
    static uint8_t piece[INPUT_MAX];
    const struct input *from = &corpus[below(n_corpus)];
    const uint8_t *data = below(2) ? from->data : in;
    size_t size = data == in ? len : from->len, at = below(size);
    size_t n = below((size - at < 256 || !below(8)) ? size - at + 1 : 256);
    memcpy(piece, data + at, n);
    return insert(in, len, below(len + 1), piece, n);
}

static size_t mutate(uint8_t *in, size_t len)
{
    static const uint8_t bytes[] = { 0, 0xff, 0x7f, 0x80, '"', '{', '}', '[', ']', ',', ':', '/',
                                     '=', '\\', '0', '9', '-', 'A', ' ', '\n' };
    size_t at = below(len), n = below(len - at < 64 ? len - at + 1 : 64);
    switch (below(9)) {
    case 0:
        if (len)
            in[at] ^= (uint8_t)(1u << below(8));
        return len;
    case 1:
        if (len)
            in[at] = (uint8_t)next_random();
        return len;
    case 2:
        if (len)
            in[at] = bytes[below(sizeof bytes)];
        return len;
    case 3: return erase(in, len, at, n);
    case 4: return insert(in, len, below(len + 1), &bytes[below(sizeof bytes)], 1);
    case 5: return insert_word(in, len);
    case 6: return insert_piece(in, len);
    case 7: return below(4) ? len : at; /* cut off */
    default:                            /* a run of one byte, now and then a long one */
    {
        static uint8_t fill[4096];
        memset(fill, bytes[below(sizeof bytes)], sizeof fill);
        return insert(in, len, below(len + 1), fill, below(below(16) ? 16 : sizeof fill));
    }
    }
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t fuzz(double duration)
{
    static uint8_t in[INPUT_MAX];
    uint64_t runs = 0;
    for (double end = seconds() + duration; seconds() < end; runs++) {
        const struct input *from = &corpus[below(n_corpus)];
        size_t len = from->len;
        memcpy(in, from->data, len);
        for (size_t i = 1 + below(8); i > 0; i--)
            len = mutate(in, len);
        run(in, len);
    }
    return runs;
}

int main(int argc, char **argv)
{
    struct stat st;
    FUZZ_CHECK(argc >= 2 && stat(argv[1], &st) == 0);
    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
    uint64_t seed = random_state, runs = 0;
    open_mirror();
    if (S_ISDIR(st.st_mode))
        add_folder(argv[1]);
    else
        add_file(argv[1]);
    for (size_t i = 0; i < n_corpus; i++)
        run(corpus[i].data, corpus[i].len);
    if (argc > 2)
        runs = fuzz(strtod(argv[2], NULL));
    (void)alarm(0);
    const char *slash = strrchr(argv[0], '/');
    (void)printf("%s: corpus %zu, inputs %llu, seed %llu\n", slash ? slash + 1 : argv[0], n_corpus,
                 (unsigned long long)runs, (unsigned long long)seed);
    for (size_t i = 0; i < n_corpus; i++)
        prop_free(corpus[i].data);
    return 0;
}
