/* Parsing of command lines and printing of --help, from one table per subcommand. */
#include "cli/options.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32
#define HELP_COLUMN 30

int usage_error(const struct command *command, const char *format, ...)
{
    fprintf(stderr, "atoll %s: ", command->name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry `atoll %s --help`.\n", command->name);
    return EXIT_USAGE;
}

/* ---- help ---- */

static void help_print_text(const char *text, int column)
{
    for (;;) {
        size_t len = strcspn(text, "\n");
        printf("%.*s\n", (int)len, text);
        if (text[len] == '\0')
            return;
        text += len + 1;
        printf("%*s", column, "");
    }
}

static void help_print_option(const struct option_spec *option)
{
    char left[160], value[96] = "";
    size_t used = 0;
    if (option->kind == OPTION_CHOICE) {
        for (const char *const *choice = option->choices; *choice; choice++)
            used += (size_t)snprintf(value + used, sizeof value - used, "%s%s",
                                     choice == option->choices ? "" : "|", *choice);
    } else if (option->value) {
        snprintf(value, sizeof value, "%s", option->value);
    }
    const char *space = *value ? " " : "";
    if (option->letter && option->name)
        snprintf(left, sizeof left, "  -%c, --%s%s%s", option->letter, option->name, space, value);
    else if (option->letter)
        snprintf(left, sizeof left, "  -%c%s%s", option->letter, space, value);
    else
        snprintf(left, sizeof left, "  --%s%s%s", option->name, space, value);
    if (strlen(left) + 2 > HELP_COLUMN)
        printf("%s\n%*s", left, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, left);
    help_print_text(option->help, HELP_COLUMN);
}

static void help_print(const struct command *command, const struct option_spec *options,
                       size_t count)
{
    printf("Usage: atoll %s %s\n\n%s\n\nOptions:\n", command->name, command->usage,
           command->description);
    for (size_t i = 0; i < count; i++)
        help_print_option(&options[i]);
    help_print_option(
        &(struct option_spec){.name = "help", .kind = OPTION_FLAG, .help = "print this and end"});
}

/* ---- values ---- */

bool text_parse_count(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool text_parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0},  {"K", 10},   {"M", 20},   {"G", 30},
                 {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    size_t digits = strspn(text, "0123456789");
    char number[24];
    uint64_t value;
    if (digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (!text_parse_count(number, &value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].suffix) == 0)
            return !__builtin_mul_overflow(value, UINT64_C(1) << units[i].shift, out);
    }
    return false;
}

bool text_parse_duration(const char *text, int64_t *out_ns)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"m", 60}, {"h", 3600}};
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 20 || *text == '.')
        return false;
    char *end;
    double value = strtod(text, &end);
    /* strtod reads more than digits (exponents, hexadecimal): only what was meant passes. */
    if (end != text + digits)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].suffix) != 0)
            continue;
        double ns = value * units[i].seconds * 1e9;
        if (!(ns < 9e18))
            return false;
        *out_ns = (int64_t)ns;
        return true;
    }
    return false;
}

unsigned text_distance(const char *a, const char *b)
{
    enum { WORD = 64 };
    size_t rows = strlen(a), columns = strlen(b);
    if (rows >= WORD || columns >= WORD)
        return WORD;
    unsigned grid[WORD][WORD];
    for (size_t i = 0; i <= rows; i++) {
        for (size_t j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                grid[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = grid[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (grid[i - 1][j] + 1 < best)
                best = grid[i - 1][j] + 1;
            if (grid[i][j - 1] + 1 < best)
                best = grid[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                grid[i - 2][j - 2] + 1 < best)
                best = grid[i - 2][j - 2] + 1;
            grid[i][j] = best;
        }
    }
    return grid[rows][columns];
}

/* ---- parsing ---- */

struct parser {
    const struct command *command;
    const struct option_spec *options;
    size_t option_count;
    bool seen[OPTIONS_MAX];
};

static bool list_append(struct text_list *list, const char *item)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return false;
    items[list->count++] = item;
    list->items = items;
    return true;
}

/* How the person wrote the option, for messages. */
static const char *option_label(const struct option_spec *option, char out[static 64])
{
    if (option->name)
        snprintf(out, 64, "--%s", option->name);
    else
        snprintf(out, 64, "-%c", option->letter);
    return out;
}

static bool choice_store(const struct option_spec *option, const char *value)
{
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], value) == 0) {
            *(int *)option->target = i;
            return true;
        }
    }
    return false;
}

static bool value_store(const struct option_spec *option, const char *value)
{
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->target = true; return true;
    case OPTION_TEXT: *(const char **)option->target = value; return true;
    case OPTION_LIST: return list_append(option->target, value);
    case OPTION_COUNT: return text_parse_count(value, option->target);
    case OPTION_SIZE: return text_parse_size(value, option->target);
    case OPTION_DURATION: return text_parse_duration(value, option->target);
    case OPTION_CHOICE: return choice_store(option, value);
    }
    return false;
}

static void value_complain(const struct parser *p, const struct option_spec *option,
                           const char *value)
{
    static const char *const forms[] = {
        [OPTION_COUNT] = "a whole number",
        [OPTION_SIZE] = "a size such as 65536, 64KiB, 512M or 2G",
        [OPTION_DURATION] = "a duration such as 2s, 250ms, 10m or 1h",
    };
    char label[64], words[96] = "one of";
    const char *form = option->kind == OPTION_CHOICE ? words : forms[option->kind];
    if (option->kind == OPTION_CHOICE) {
        size_t used = strlen(words);
        for (const char *const *choice = option->choices; *choice; choice++)
            used += (size_t)snprintf(words + used, sizeof words - used, " %s", *choice);
    }
    usage_error(p->command, "%s takes %s, not \"%s\".", option_label(option, label),
                form ? form : "a value", value);
}

static bool option_store(struct parser *p, const struct option_spec *option, const char *value)
{
    char label[64];
    size_t index = (size_t)(option - p->options);
    if (p->seen[index] && option->kind != OPTION_LIST) {
        usage_error(p->command, "%s is given twice.", option_label(option, label));
        return false;
    }
    p->seen[index] = true;
    if (value_store(option, value))
        return true;
    value_complain(p, option, value);
    return false;
}

static bool option_unknown(const struct parser *p, const char *argument)
{
    const char *nearest = NULL;
    unsigned best = 3;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    for (size_t i = 0; i < p->option_count && argument[1] == '-'; i++) {
        unsigned distance = p->options[i].name ? text_distance(word, p->options[i].name) : best;
        if (distance < best) {
            best = distance;
            nearest = p->options[i].name;
        }
    }
    if (nearest)
        usage_error(p->command, "there is no option %s; did you mean --%s?", argument, nearest);
    else
        usage_error(p->command, "there is no option %s. (What is not an option goes after \"--\".)",
                    argument);
    return false;
}

/* argv[*at] is "--name", "--name=value" or "--name value". */
static bool parse_long(struct parser *p, int argc, char **argv, int *at)
{
    const char *argument = argv[*at], *name = argument + 2;
    size_t len = strcspn(name, "=");
    char label[64];
    for (size_t i = 0; i < p->option_count; i++) {
        const struct option_spec *option = &p->options[i];
        if (!option->name || strlen(option->name) != len || memcmp(option->name, name, len) != 0)
            continue;
        bool attached = name[len] == '=';
        if (option->kind == OPTION_FLAG) {
            if (!attached)
                return option_store(p, option, "");
            usage_error(p->command, "%s takes no value.", option_label(option, label));
            return false;
        }
        if (attached)
            return option_store(p, option, name + len + 1);
        if (*at + 1 < argc)
            return option_store(p, option, argv[++*at]);
        usage_error(p->command, "%s needs a value.", option_label(option, label));
        return false;
    }
    return option_unknown(p, argument);
}

/* "--help", or "-h" where that is no option of the command's own. */
static bool help_asked(const struct parser *p, const char *argument)
{
    if (strcmp(argument, "-h") != 0)
        return strcmp(argument, "--help") == 0;
    for (size_t i = 0; i < p->option_count; i++) {
        if (p->options[i].letter == 'h')
            return false;
    }
    return true;
}

/* argv[*at] is "-x", "-xVALUE" or "-x VALUE". Letters are not bundled. */
static bool parse_letter(struct parser *p, int argc, char **argv, int *at)
{
    const char *argument = argv[*at];
    for (size_t i = 0; i < p->option_count; i++) {
        const struct option_spec *option = &p->options[i];
        if (option->letter != argument[1])
            continue;
        if (option->kind == OPTION_FLAG)
            return argument[2] ? option_unknown(p, argument) : option_store(p, option, "");
        if (argument[2])
            return option_store(p, option, argument + 2);
        if (*at + 1 < argc)
            return option_store(p, option, argv[++*at]);
        usage_error(p->command, "-%c needs a value.", option->letter);
        return false;
    }
    return option_unknown(p, argument);
}

static bool operands_check(const struct parser *p, const struct text_list *operands, size_t least,
                           size_t most)
{
    if (operands->count >= least && operands->count <= most)
        return true;
    if (operands->count < least)
        usage_error(p->command, "something is missing. Usage: atoll %s %s", p->command->name,
                    p->command->usage);
    else
        usage_error(p->command, "\"%s\" is too much. Usage: atoll %s %s", operands->items[most],
                    p->command->name, p->command->usage);
    return false;
}

enum options_outcome options_parse(const struct command *command, const struct option_spec *options,
                                   size_t option_count, int argc, char **argv, size_t least,
                                   size_t most, struct text_list *operands)
{
    assert(option_count <= OPTIONS_MAX);
    struct parser p = {.command = command, .options = options, .option_count = option_count};
    bool only_operands = false;
    for (int at = 1; at < argc; at++) {
        const char *argument = argv[at];
        bool good;
        if (only_operands || argument[0] != '-' || argument[1] == '\0') {
            good = list_append(operands, argument);
        } else if (strcmp(argument, "--") == 0) {
            only_operands = good = true;
        } else if (help_asked(&p, argument)) {
            help_print(command, options, option_count);
            return OPTIONS_HELP;
        } else if (argument[1] == '-') {
            good = parse_long(&p, argc, argv, &at);
        } else {
            good = parse_letter(&p, argc, argv, &at);
        }
        if (!good)
            return OPTIONS_BAD;
    }
    return operands_check(&p, operands, least, most) ? OPTIONS_GO : OPTIONS_BAD;
}
