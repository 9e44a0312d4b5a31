/*
 * The module `spectest` that the core suite's scripts import from, as WebAssembly bytes.
 *
 * Its print functions are imports (from "host") that it exports again, so that whatever links to it
 * links to another instance's exports and never to the host.
 */
#ifndef CONFORMANCE_SPECTEST_H
#define CONFORMANCE_SPECTEST_H

#include "engine/host.h"
#include "module_writer.h"

/* All of spectest but its shared memory: a module has one memory. */
void spectest_write(struct module_writer *);
/* Only "shared_memory", for the scripts of the threads proposal. */
void spectest_write_shared(struct module_writer *);
/* Every print function: does nothing, the suite never looks at what is printed. */
enum host_status spectest_print(struct host_call *);

#endif
