/* Functions of the C library that allocate for the caller, or lean on realloc. */
#include "conformance.h"

#include <dirent.h>
#include <glob.h>
#include <locale.h>
#include <regex.h>
#include <search.h>
#include <wchar.h>

CASE(strdup_family) {
    char *a = strdup("freestone"), *b = strndup("freestone", 4);
    wchar_t *c = wcsdup(L"freestone");
    CHECK(strcmp(a, "freestone") == 0 && strcmp(b, "free") == 0 && wcscmp(c, L"freestone") == 0);
    free(a);
    free(b);
    free(c);
}

CASE(asprintf_of_every_length) {
    for (int length = 0; length < 3000; length += 7) {
        char *text = NULL;
        CHECK(asprintf(&text, "%*d", length, 7) == (length > 0 ? length : 1));
        CHECK(malloc_usable_size(text) > (size_t)length);
        free(text);
    }
}

CASE(getline_grows_its_buffer) {
    FILE *file = tmpfile();
    CHECK(file);
    for (int i = 0; i < 400; i++) {
        for (int j = 0; j < i * 20; j++) putc('a' + j % 26, file);
        putc('\n', file);
    }
    rewind(file);
    char *line = NULL;
    size_t room = 0;
    for (int i = 0; i < 400; i++) {
        CHECK(getline(&line, &room, file) == i * 20 + 1);
        CHECK(line[i * 20] == '\n' && malloc_usable_size(line) >= room);
    }
    CHECK(getline(&line, &room, file) == -1);
    free(line);
    /* A buffer of ours may be handed in. */
    rewind(file);
    line = (char *)malloc(4);
    room = 4;
    while (getline(&line, &room, file) > 0) {}
    free(line);
    fclose(file);
}

CASE(open_memstream_hands_over_its_buffer) {
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    for (int i = 0; i < 100000; i++) fprintf(stream, "%06d\n", i);
    fclose(stream);
    CHECK(length == 700000 && strncmp(text + 7 * 5000, "005000\n", 7) == 0);
    text = (char *)hide(realloc(text, 10));
    CHECK(text && strncmp(text, "000000\n", 7) == 0);
    free(text);
}

CASE(printf_with_wide_fields_and_floats) {
    char *text = NULL;
    CHECK(asprintf(&text, "%5000.3f|%ls", 1.5, L"wide") == 5005);
    free(text);
    text = NULL;
    CHECK(asprintf(&text, "%.4000f", 0.1) == 4002);
    free(text);
}

static int compare(const void *a, const void *b) {
    return memcmp(a, b, 100);
}

CASE(qsort_of_large_elements) {
    enum { MANY = 5000 };
    unsigned char *table = (unsigned char *)malloc(MANY * 100);
    unsigned state = 3;
    for (size_t i = 0; i < MANY * 100; i++) table[i] = (unsigned char)random_next(&state);
    qsort(table, MANY, 100, compare);
    for (size_t i = 1; i < MANY; i++) CHECK(memcmp(table + (i - 1) * 100, table + i * 100, 100) <= 0);
    free(table);
}

CASE(realpath_getcwd_and_scandir) {
    char *path = realpath("/proc/self/..", NULL);
    CHECK(path && strcmp(path, "/proc") == 0);
    free(path);
    path = getcwd(NULL, 0);
    CHECK(path && path[0] == '/');
    free(path);
    struct dirent **names = NULL;
    int count = scandir("/proc/self", &names, NULL, alphasort);
    CHECK(count > 5);
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}

CASE(glob_regex_and_locale) {
    glob_t found;
    CHECK(glob("/proc/self/*", 0, NULL, &found) == 0 && found.gl_pathc > 5);
    globfree(&found);
    regex_t expression;
    CHECK(regcomp(&expression, "^(a|b)*(c+)[[:digit:]]{2,5}$", REG_EXTENDED) == 0);
    CHECK(regexec(&expression, "ababcc123", 0, NULL, 0) == 0);
    CHECK(regexec(&expression, "ababcc1", 0, NULL, 0) == REG_NOMATCH);
    regfree(&expression);
    locale_t locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    CHECK(locale);
    freelocale(locale);
    CHECK(setlocale(LC_ALL, "C.UTF-8") || setlocale(LC_ALL, "C"));
}

CASE(setenv_many_times) {
    char name[32], value[300];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "FREESTONE_CASE_%d", i % 300);
        memset(value, 'a' + i % 26, sizeof value);
        value[i % 299] = 0;
        CHECK(setenv(name, value, 1) == 0);
        CHECK(strcmp(getenv(name), value) == 0);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "FREESTONE_CASE_%d", i);
        unsetenv(name);
    }
    CHECK(clearenv() == 0);
    CHECK(setenv("FREESTONE_CASE", "1", 1) == 0);
}

static int compare_keys(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return (x > y) - (x < y);
}

static void keep_key(void *key) { (void)key; }

CASE(tsearch_and_hsearch) {
    void *root = NULL;
    for (uintptr_t i = 1; i < 20000; i++) CHECK(tsearch((void *)(i * 7919 % 20011), &root, compare_keys));
    for (uintptr_t i = 1; i < 10000; i++) CHECK(tdelete((void *)(i * 7919 % 20011), &root, compare_keys));
    tdestroy(root, keep_key);
    CHECK(hcreate(1000));
    hdestroy();
}

CASE(popen_and_system) {
    char word[16] = {0};
    FILE *pipe = popen("echo freestone", "r");
    CHECK(pipe && fgets(word, sizeof word, pipe) && strcmp(word, "freestone\n") == 0);
    CHECK(pclose(pipe) == 0);
    CHECK(system("exit 3") == 3 << 8);
}

CASE(many_streams_open_and_close) {
    FILE *streams[200];
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT_OF(streams); i++) {
            streams[i] = fopen("/proc/self/status", "r");
            CHECK(streams[i]);
            getc(streams[i]);
        }
        for (unsigned i = 0; i < COUNT_OF(streams); i++) fclose(streams[i]);
    }
}
