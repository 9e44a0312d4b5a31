/*
 * Imports everything that atoll.h declares: what `atoll inspect` says of it is the interface, and
 * sdk/c/imports.txt is what it has to be.
 */
#include <atoll.h>

static const void *volatile used;

static void use(const void *function)
{
    used = function;
}

ATOLL_FUNCTION(imports)
{
    use((const void *)atoll_call_info);
    use((const void *)atoll_input_size);
    use((const void *)atoll_input_read);
    use((const void *)atoll_input_map);
    use((const void *)atoll_output_write);
    use((const void *)atoll_output_set);
    use((const void *)atoll_output_map);
    use((const void *)atoll_fail);
    use((const void *)atoll_log);
    use((const void *)atoll_config);
    use((const void *)atoll_http_head);
    use((const void *)atoll_http_reply);
    use((const void *)atoll_chain);
    use((const void *)atoll_chain_fn);
    use((const void *)atoll_chain_batch);
    use((const void *)atoll_await);
    use((const void *)atoll_result_read);
    use((const void *)atoll_result_map);
    use((const void *)atoll_cancel);
    use((const void *)atoll_forget);
    use((const void *)atoll_state_open);
    use((const void *)atoll_state_close);
    use((const void *)atoll_state_size);
    use((const void *)atoll_state_resize);
    use((const void *)atoll_state_version);
    use((const void *)atoll_state_map);
    use((const void *)atoll_state_unmap);
    use((const void *)atoll_state_read);
    use((const void *)atoll_state_write);
    use((const void *)atoll_state_dirty);
    use((const void *)atoll_state_merge);
    use((const void *)atoll_state_pull);
    use((const void *)atoll_state_push);
    use((const void *)atoll_state_append);
    use((const void *)atoll_state_entries);
    use((const void *)atoll_state_clear);
    use((const void *)atoll_state_lock);
    use((const void *)atoll_state_unlock);
    use((const void *)atoll_state_delete);
    use((const void *)atoll_state_list);
    use((const void *)atoll_obj_open);
    use((const void *)atoll_obj_op);
    use((const void *)atoll_mem_map);
    use((const void *)atoll_mem_unmap);
    use((const void *)atoll_sock_open);
    use((const void *)atoll_sock_connect);
    use((const void *)atoll_sock_bind);
    use((const void *)atoll_sock_listen);
    use((const void *)atoll_sock_opt);
    use((const void *)atoll_resolve);
    use((const void *)atoll_metric);
    use((const void *)atoll_random);
    use((const void *)atoll_now);
    return 0;
}
