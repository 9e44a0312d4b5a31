/* The command `atoll`: finds the subcommand and hands over. */
#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_run,   &command_resume, &command_build,  &command_compile, &command_inspect,
    &command_up,    &command_init,   &command_deploy, &command_invoke,  &command_call,
    &command_fn,    &command_state,  &command_files,  &command_logs,    &command_top,
    &command_node,  &command_tenant, &command_token,  &command_doctor,  &command_version,
    &command_bench, &command_ledger, &command_worker,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int command_unknown(const char *name)
{
    const struct command *nearest = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        unsigned distance = text_distance(name, commands[i]->name);
        if (distance < best) {
            best = distance;
            nearest = commands[i];
        }
    }
    fprintf(stderr, "atoll: there is no command %s", name);
    if (nearest)
        fprintf(stderr, "; did you mean `atoll %s`?\n", nearest->name);
    else
        fprintf(stderr, ". Try `atoll help`.\n");
    return EXIT_USAGE;
}

static void overview_print(FILE *output)
{
    fprintf(output, "Usage: atoll COMMAND [OPTIONS] ...\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i]->summary) /* the others are not for people */
            fprintf(output, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(output, "  %-10s%s\n\n", "help", "print this, or the help of a command");
    fprintf(output, "`atoll COMMAND --help` tells all about one.\n");
}

static bool help_wanted(const char *argument)
{
    return strcmp(argument, "help") == 0 || strcmp(argument, "--help") == 0 ||
           strcmp(argument, "-h") == 0;
}

/* `atoll help [COMMAND]` */
static int help_run(int argc, char **argv)
{
    if (argc < 2 || help_wanted(argv[1])) {
        overview_print(stdout);
        return EXIT_OK;
    }
    const struct command *command = command_find(argv[1]);
    if (!command)
        return command_unknown(argv[1]);
    char *arguments[] = {argv[1], (char[]){"--help"}, NULL};
    return command->run(2, arguments);
}

/* Standard descriptors that the caller closed would be given to the next files that are opened, and
 * what is printed would end up in those: the store, a checkpoint. What takes their place cannot be
 * used in the direction that is meant, so reading and writing fail as they did. */
static bool descriptors_occupy(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

/* What could not be printed must not pass for success. */
static int output_finish(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "atoll: the output could not be written%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code == EXIT_OK ? EXIT_ATOLL : code;
}

static int command_dispatch(int argc, char **argv)
{
    if (help_wanted(argv[1]))
        return help_run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0)
        return command_version.run(1, argv + 1);
    const struct command *command = command_find(argv[1]);
    return command ? command->run(argc - 1, argv + 1) : command_unknown(argv[1]);
}

int main(int argc, char **argv)
{
    /* Writing beyond the shell's file size limit is an error that is told, to the guest, too. */
    signal(SIGXFSZ, SIG_IGN);
    if (!descriptors_occupy())
        return EXIT_ATOLL;
    if (argc < 2) {
        overview_print(stderr);
        return EXIT_USAGE;
    }
    return output_finish(command_dispatch(argc, argv));
}
