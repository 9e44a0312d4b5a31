/* Compiling a module of the tests for a worker. */
#ifndef TESTS_ARTEFACT_FILE_H
#define TESTS_ARTEFACT_FILE_H

/* The artefact's bytes in a memory file, from the wasm at a path. Ends the program with a message
 * when that fails. The caller closes it. */
int artefact_file(const char *path);

#endif
