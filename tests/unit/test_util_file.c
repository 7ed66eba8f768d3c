/* Files: whole or not there, whatever happens in between; limits and modes of what is read. */
#include "tests/unit/support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];
static char path[512];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/file-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/out", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

/* Names in the folder, apart from . and .. */
static size_t count_names(void)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void assert_content(const char *name, const char *want)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = PROP_BUF_INIT(4096);
    OK(prop_file_read(name, &b, &err));
    assert_string_equal(prop_buf_str(&b), want);
    prop_buf_release(&b);
}

static void test_nothing_before_commit(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_file_out f = PROP_FILE_OUT_INIT;
    struct stat st;
    OK(prop_file_out_open(&f, path, 0640, false, &err));
    OK(prop_file_out_write(&f, "half", 4, &err));
    assert_int_not_equal(stat(path, &st), 0);
    prop_file_out_release(&f);
    prop_file_out_release(&f); /* fine at any time */
    assert_int_equal(count_names(), 0);
    OK(prop_file_out_open(&f, path, 0640, false, &err));
    OK(prop_file_out_write(&f, "half", 4, &err));
    OK(prop_file_out_write(&f, " whole", 6, &err));
    OK(prop_file_out_commit(&f, &err));
    assert_content(path, "half whole");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(count_names(), 1);
    prop_file_out_release(&f);
    assert_int_equal(unlink(path), 0);
}

static void test_existing_target(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_file_out f = PROP_FILE_OUT_INIT;
    OK(prop_file_write(path, "old", 3, 0600, false, &err));
    FAILS(prop_file_write(path, "new", 3, 0600, false, &err), PROP_E_EXISTS, "file-exists");
    assert_content(path, "old");
    OK(prop_file_write(path, "new", 3, 0600, true, &err));
    assert_content(path, "new");
    assert_int_equal(unlink(path), 0);
    /* it appears between open and commit: not replaced either */
    OK(prop_file_out_open(&f, path, 0600, false, &err));
    OK(prop_file_out_write(&f, "mine", 4, &err));
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    FAILS(prop_file_out_commit(&f, &err), PROP_E_EXISTS, "file-exists");
    assert_content(path, "");
    assert_int_equal(count_names(), 1);
    assert_int_equal(unlink(path), 0);
    /* a dangling symbolic link is something that exists */
    assert_int_equal(symlink("/nonexistent/target", path), 0);
    FAILS(prop_file_write(path, "x", 1, 0600, false, &err), PROP_E_EXISTS, "file-exists");
    assert_int_equal(unlink(path), 0);
}

static void test_bad_targets(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char name[600];
    (void)snprintf(name, sizeof(name), "%s/absent/out", folder);
    FAILS(prop_file_write(name, "x", 1, 0600, false, &err), PROP_E_NOTFOUND, "not-found");
    FAILS(prop_file_write(folder, "x", 1, 0600, true, &err), PROP_E_IO, "local-io");
    OK(prop_file_write(path, "x", 1, 0600, false, &err));
    (void)snprintf(name, sizeof(name), "%s/below", path);
    assert_int_not_equal(prop_file_write(name, "x", 1, 0600, false, &err), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(count_names(), 0);
}

/* The disk is full: told by the size limit of the process. The old file stays whole. */
static void test_write_fails(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct rlimit old, low;
    char *big = prop_zalloc(200000);
    OK(prop_file_write(path, "old", 3, 0600, false, &err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 100000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = prop_file_write(path, big, 200000, 0600, true, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(rc, PROP_E_IO);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_content(path, "old");
    assert_int_equal(count_names(), 1);
    assert_int_equal(unlink(path), 0);
    prop_free(big);
}

/* A process that is killed while it writes leaves nothing. */
static void test_killed_writer(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct prop_file_out f = PROP_FILE_OUT_INIT;
        if (prop_file_out_open(&f, path, 0600, false, NULL) == 0 &&
            prop_file_out_write(&f, "half", 4, NULL) == 0)
            (void)raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(count_names(), 0);
}

static void test_read_limits(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    OK(prop_file_write(path, "0123456789", 10, 0600, false, &err));
    for (size_t max = 0; max < 14; max++) {
        struct prop_buf b = PROP_BUF_INIT(max);
        if (max < 10) {
            FAILS(prop_file_read(path, &b, &err), PROP_E_LIMIT, "file-too-big");
            FAILS(prop_file_read_secret(path, max, PROP_SECRET_FILE_PRIVATE, &s, &err),
                  PROP_E_LIMIT, "file-too-big");
            assert_null(s);
        } else {
            OK(prop_file_read(path, &b, &err));
            assert_int_equal(b.len, 10);
            OK(prop_file_read_secret(path, max, PROP_SECRET_FILE_PRIVATE, &s, &err));
            assert_secret_is(s, "0123456789", 10);
            prop_secret_free(s);
            s = NULL;
        }
        prop_buf_release(&b);
    }
    OK(prop_file_write(path, "", 0, 0600, true, &err));
    struct prop_buf empty = PROP_BUF_INIT(5);
    OK(prop_file_read(path, &empty, &err));
    assert_string_equal(prop_buf_str(&empty), "");
    prop_buf_release(&empty);
    OK(prop_file_read_secret(path, 5, PROP_SECRET_FILE_PRIVATE, &s, &err));
    assert_int_equal(prop_secret_len(s), 0);
    prop_secret_free(s);
    assert_int_equal(unlink(path), 0);
}

static void test_read_refuses(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = PROP_BUF_INIT(100);
    struct prop_secret *s = NULL;
    char name[600];
    FAILS(prop_file_read(path, &b, &err), PROP_E_NOTFOUND, "not-found");
    assert_int_equal(err.sys_errno, ENOENT);
    FAILS(prop_file_read(folder, &b, &err), PROP_E_IO, "local-io");
    FAILS(prop_file_read_secret(folder, 10, 0, &s, &err), PROP_E_IO, "local-io");
    OK(prop_file_write(path, "key", 3, 0600, false, &err));
    (void)snprintf(name, sizeof(name), "%s/x", path);
    FAILS(prop_file_read(name, &b, &err), PROP_E_NOTFOUND, "not-found");
    static const mode_t modes[] = { 0644, 0640, 0604, 0610, 0601, 0620 };
    for (size_t i = 0; i < PROP_ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        FAILS(prop_file_read_secret(path, 10, PROP_SECRET_FILE_PRIVATE, &s, &err), PROP_E_DENIED,
              "key-file-mode");
        assert_null(s);
        OK(prop_file_read_secret(path, 10, PROP_SECRET_FILE_ANY_MODE, &s, &err));
        prop_secret_free(s);
        s = NULL;
    }
    assert_int_equal(unlink(path), 0);
    prop_buf_release(&b);
}

/* Pipes have no mode to speak of, and no size: /dev/fd/N. */
static void test_pipes(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    int fds[2];
    char name[32];
    for (size_t max = 2; max < 5; max++) {
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(write(fds[1], "abc", 3), 3);
        (void)close(fds[1]);
        (void)snprintf(name, sizeof(name), "/dev/fd/%d", fds[0]);
        if (max < 3) {
            FAILS(prop_file_read_secret(name, max, PROP_SECRET_FILE_PRIVATE, &s, &err),
                  PROP_E_LIMIT, "file-too-big");
        } else {
            OK(prop_file_read_secret(name, max, PROP_SECRET_FILE_PRIVATE, &s, &err));
            assert_secret_is(s, "abc", 3);
            prop_secret_free(s);
            s = NULL;
        }
        (void)close(fds[0]);
    }
}

static void test_folders(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char name[600], want[600], *dir = NULL;
    struct stat st;
    (void)snprintf(name, sizeof(name), "%s/a/b/c", folder);
    OK(prop_mkdir_p(name, 0700, &err));
    OK(prop_mkdir_p(name, 0700, &err));
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    OK(prop_file_write(path, "x", 1, 0600, false, &err));
    FAILS(prop_mkdir_p(path, 0700, &err), PROP_E_IO, "local-io");
    (void)snprintf(name, sizeof(name), "%s/below", path);
    FAILS(prop_mkdir_p(name, 0700, &err), PROP_E_IO, "local-io");
    assert_int_equal(unlink(path), 0);

    (void)snprintf(name, sizeof(name), "%s/xdg", folder);
    assert_int_equal(setenv("XDG_DATA_HOME", name, 1), 0);
    OK(prop_xdg_dir(PROP_XDG_DATA, &dir, &err));
    (void)snprintf(want, sizeof(want), "%s/xdg/prop", folder);
    assert_string_equal(dir, want);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    prop_free(dir);
    dir = NULL;
    assert_int_equal(setenv("XDG_DATA_HOME", "relative", 1), 0); /* to be ignored */
    assert_int_equal(setenv("HOME", folder, 1), 0);
    OK(prop_xdg_dir(PROP_XDG_DATA, &dir, &err));
    (void)snprintf(want, sizeof(want), "%s/.local/share/prop", folder);
    assert_string_equal(dir, want);
    prop_free(dir);
    dir = NULL;
    assert_int_equal(unsetenv("XDG_DATA_HOME"), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    FAILS(prop_xdg_dir(PROP_XDG_DATA, &dir, &err), PROP_E_IO, "local-io");
    assert_null(dir);
}

static void test_json_file(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    (void)snprintf(path, sizeof(path), "%s/doc.json", folder);
    OK(prop_file_write(path, "{\"a\":1}\n", 8, 0600, true, &err));
    OK(prop_json_parse_file(path, 100, &v, &err));
    json_decref(v);
    v = NULL;
    FAILS(prop_json_parse_file(path, 5, &v, &err), PROP_E_LIMIT, "file-too-big");
    OK(prop_file_write(path, "{\"a\":", 5, 0600, true, &err));
    FAILS(prop_json_parse_file(path, 100, &v, &err), PROP_E_INPUT, "json-syntax");
    assert_non_null(strstr(err.message, "doc.json"));
    assert_null(v);
}

/* What waits for standard output may be a key: in the temporary file it is not to be found, and it
 * comes out as it went in, however it was cut into writes. */
static void test_standard_output_is_veiled(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_file_out f = PROP_FILE_OUT_INIT;
    static const size_t cuts[] = { 1, 63, 64, 65, 0, 16384, 16383, 70000, 7 };
    enum { ALL = 1 + 63 + 64 + 65 + 16384 + 16383 + 70000 + 7 };
    uint8_t *data = prop_zalloc(ALL), *held = prop_zalloc(ALL);
    size_t at = 0;
    for (size_t i = 0; i < ALL; i++)
        data[i] = (uint8_t)("attack at dawn, "[i % 16]);
    OK(prop_file_out_open(&f, "-", 0600, false, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(cuts); at += cuts[i++])
        OK(prop_file_out_write(&f, data + at, cuts[i], &err));
    assert_int_equal(pread(f.fd, held, ALL, 0), ALL);
    assert_null(memmem(held, ALL, "attack", 6));
    assert_null(memmem(held, ALL, "dawn", 4));
    (void)snprintf(path, sizeof(path), "%s/stdout", folder);
    int out = dup(STDOUT_FILENO), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    (void)fflush(stdout);
    assert_int_equal(dup2(file, STDOUT_FILENO), STDOUT_FILENO);
    int rc = prop_file_out_commit(&f, &err);
    (void)dup2(out, STDOUT_FILENO);
    (void)close(out);
    OK(rc);
    assert_int_equal(lseek(file, 0, SEEK_END), ALL);
    assert_int_equal(pread(file, held, ALL, 0), ALL);
    assert_memory_equal(held, data, ALL);
    (void)close(file);
    assert_int_equal(unlink(path), 0);
    prop_free(data);
    prop_free(held);
}

/* --force replaces files. /dev/null, a pipe or a socket is none, also behind a symbolic link. */
static void test_devices_are_not_replaced(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct stat st;
    FAILS(prop_file_write("/dev/null", "x", 1, 0600, true, &err), PROP_E_IO, "not-a-file");
    (void)snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    FAILS(prop_file_write(path, "x", 1, 0600, true, &err), PROP_E_IO, "not-a-file");
    FAILS(prop_file_write(path, "x", 1, 0600, false, &err), PROP_E_IO, "not-a-file");
    assert_true(lstat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/link", folder);
    assert_int_equal(symlink("/dev/null", path), 0);
    FAILS(prop_file_write(path, "x", 1, 0600, true, &err), PROP_E_IO, "not-a-file");
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_before_commit), cmocka_unit_test(test_existing_target),
        cmocka_unit_test(test_bad_targets),           cmocka_unit_test(test_write_fails),
        cmocka_unit_test(test_killed_writer),         cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_read_refuses),          cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_folders),               cmocka_unit_test(test_json_file),
        cmocka_unit_test(test_standard_output_is_veiled),
        cmocka_unit_test(test_devices_are_not_replaced),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
