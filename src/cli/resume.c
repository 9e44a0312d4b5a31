/* `atoll resume`: continues a program that `atoll run --checkpoint` stopped and wrote to a file. */
#include "cli/module.h"
#include "cli/program.h"
#include "cli/report.h"

#include <stdio.h>
#include <stdlib.h>

#define TRUSTED_MAX 64

struct resume_command {
    struct program program;
    struct text_list trust, operands;
    uint8_t trusted[TRUSTED_MAX + 1][KEY_PUBLIC_LEN];
    uint32_t trusted_count;
};

/* The user's own key, and those given. */
static int trust_collect(struct resume_command *c, struct error *e)
{
    struct key_pair own;
    int failed = key_signing(&own, e);
    if (failed < 0)
        return failed;
    for (size_t i = 0; i < KEY_PUBLIC_LEN; i++)
        c->trusted[0][i] = own.public_key[i];
    c->trusted_count = 1;
    key_erase(&own);
    for (size_t i = 0; i < c->trust.count && failed == 0; i++)
        failed = key_public_parse(c->trust.items[i], c->trusted[c->trusted_count++], e);
    return failed;
}

static int program_resume(struct resume_command *c)
{
    struct error e;
    struct program *p = &c->program;
    struct wasi_config config = WASI_CONFIG;
    config.preopens = p->preopens;
    config.preopen_count = (uint32_t)p->dirs.count;
    int failed = trust_collect(c, &e);
    if (failed == 0)
        failed = checkpoint_read(c->operands.items[0], (const uint8_t(*)[KEY_PUBLIC_LEN])c->trusted,
                                 c->trusted_count, &config, &p->guest, &p->call, &e);
    if (failed < 0)
        return program_report_failure(p, &e);
    p->cached = true;
    int code = program_prepare_call(p);
    if (code != EXIT_OK)
        return code;
    failed = program_begin(p, &e);
    if (failed == 0)
        failed = guest_continue(&p->guest, p->slots, p->watch, &p->result, &p->end, &e);
    if (failed == 0)
        failed = program_settle(p, &e);
    return failed < 0 ? program_report_failure(p, &e) : program_report(p);
}

static int resume_run(int argc, char **argv)
{
    struct resume_command c = {.program = PROGRAM_OF(&command_resume)};
    const struct option_spec options[] = {
        {"trust", 0, OPTION_LIST, "KEY",
         "accept files signed by this public key (64 hexadecimal\n"
         "digits, or a file with them), not only your own",
         &c.trust, NULL},
        PROGRAM_OPTIONS(c.program),
    };
    int code = EXIT_USAGE;
    switch (options_parse(&command_resume, options, sizeof options / sizeof options[0], argc, argv,
                          1, 1, &c.operands)) {
    case OPTIONS_HELP: code = EXIT_OK; break;
    case OPTIONS_BAD: break;
    case OPTIONS_GO:
        if (c.trust.count > TRUSTED_MAX)
            code = usage_error(&command_resume, "--trust can be given %d times.", TRUSTED_MAX);
        else
            code = program_options_check(&c.program);
        if (code == EXIT_OK)
            code = file_readable(c.operands.items[0]) ? program_resume(&c) : EXIT_NO_FILE;
    }
    program_free(&c.program);
    free(c.trust.items);
    free(c.operands.items);
    return code;
}

const struct command command_resume = {
    .name = "resume",
    .usage = "[OPTIONS] FILE",
    .summary = "continue a program that was stopped by a checkpoint",
    .description =
        "Continues, at the very instruction, the program that `atoll run --checkpoint` wrote to\n"
        "FILE. Its open files are reopened by name; --dir with a GUEST name it had puts another\n"
        "directory there. Standard input, output and error are those of this command. FILE is\n"
        "as powerful as a program: it must be signed by your key or one that you --trust.\n"
        "\n"
        "Exit code: the program's own, or\n"
        "  2    the command line is wrong\n"
        "  123  it was stopped again and written to the file of --checkpoint\n"
        "  124  --timeout passed\n"
        "  125  Atoll or the system failed; a file it had open is gone or another\n"
        "  126  FILE is signed by a stranger, or this processor is too old for it\n"
        "  127  FILE cannot be read\n"
        "  134  the program trapped",
    .run = resume_run,
};
