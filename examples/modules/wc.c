/* A WASI command: counts lines, words and bytes of its standard input.
 *
 *     wc [--at-most BYTES]     status 3 when there are more, 2 for a wrong command line
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counts {
    unsigned long lines, words, bytes;
};

static struct counts count(FILE *in)
{
    struct counts n = {0, 0, 0};
    int in_word = 0;
    int c;

    while ((c = getc(in)) != EOF) {
        n.bytes++;
        n.lines += c == '\n';
        n.words += !in_word && !isspace(c);
        in_word = !isspace(c);
    }
    return n;
}

int main(int argc, char **argv)
{
    unsigned long most = (unsigned long)-1;

    if (argc == 3 && strcmp(argv[1], "--at-most") == 0) {
        most = strtoul(argv[2], NULL, 10);
    } else if (argc != 1) {
        fprintf(stderr, "usage: %s [--at-most BYTES]\n", argv[0]);
        return 2;
    }
    struct counts n = count(stdin);
    printf("%lu %lu %lu\n", n.lines, n.words, n.bytes);
    if (n.bytes <= most)
        return 0;
    fprintf(stderr, "%s: more than %lu bytes\n", argv[0], most);
    return 3;
}
