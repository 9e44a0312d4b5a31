/*
 * SmallBank's procedures (smallbank.h): each decodes its arguments, reads what it needs, decides,
 * and writes last, so that a status other than OK leaves everything alone.
 */
#include "ledger/kv/smallbank.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define KEY_LEN 8

static const struct form {
    const char *name;
    uint8_t customers, amounts; /* 8-byte arguments: customers, then amounts */
} forms[] = {
    [SMALLBANK_CREATE_ACCOUNT] = {"create account", 1, 2},
    [SMALLBANK_BALANCE] = {"balance", 1, 0},
    [SMALLBANK_DEPOSIT_CHECKING] = {"deposit checking", 1, 1},
    [SMALLBANK_TRANSACT_SAVINGS] = {"transact savings", 1, 1},
    [SMALLBANK_SEND_PAYMENT] = {"send payment", 2, 1},
    [SMALLBANK_AMALGAMATE] = {"amalgamate", 2, 0},
    [SMALLBANK_WRITE_CHECK] = {"write check", 1, 1},
};

static const struct form *form_of(uint32_t proc)
{
    return proc >= 1 && proc < sizeof forms / sizeof forms[0] ? &forms[proc] : NULL;
}

const char *smallbank_procedure_name(uint32_t proc)
{
    return form_of(proc) ? form_of(proc)->name : "unknown";
}

/* ---- bytes ---- */

size_t smallbank_args_encode(const struct smallbank_call *call,
                             uint8_t args[static SMALLBANK_ARGS_MAX])
{
    const struct form *form = form_of(call->proc);
    assert(form);
    uint8_t *at = args;
    store_u64(at, call->customer);
    at += 8;
    if (form->customers == 2) {
        store_u64(at, call->to);
        at += 8;
    }
    if (form->amounts >= 1) {
        store_u64(at, (uint64_t)call->amount);
        at += 8;
    }
    if (form->amounts == 2) {
        store_u64(at, (uint64_t)call->checking);
        at += 8;
    }
    return (size_t)(at - args);
}

static bool amount_fits(uint32_t proc, int64_t amount)
{
    int64_t least = proc == SMALLBANK_TRANSACT_SAVINGS ? -SMALLBANK_AMOUNT_MAX : 0;
    return amount >= least && amount <= SMALLBANK_AMOUNT_MAX;
}

int smallbank_args_decode(uint32_t proc, const void *args, size_t len, struct smallbank_call *out,
                          struct error *e)
{
    const struct form *form = form_of(proc);
    if (!form)
        return error_set(e, ATOLL_EINVAL, "SmallBank has no procedure %u", proc);
    if (len != 8u * (form->customers + form->amounts))
        return error_set(e, ATOLL_EINVAL, "%s takes %d bytes of arguments, not %zu", form->name,
                         8 * (form->customers + form->amounts), len);
    const uint8_t *at = args;
    *out = (struct smallbank_call){.proc = proc, .customer = load_u64(at)};
    at += 8;
    if (form->customers == 2) {
        out->to = load_u64(at);
        at += 8;
    }
    if (form->amounts >= 1)
        out->amount = (int64_t)load_u64(at);
    if (form->amounts == 2)
        out->checking = (int64_t)load_u64(at + 8);
    if (!amount_fits(proc, out->amount) || !amount_fits(proc, out->checking))
        return error_set(e, ATOLL_EINVAL, "%s: an amount is out of range", form->name);
    return 0;
}

/* ---- accounts ---- */

struct account {
    uint8_t key[KEY_LEN];
    int64_t savings, checking;
};

static void account_key(uint64_t customer, uint8_t key[static KEY_LEN])
{
    store_u64(key, __builtin_bswap64(customer));
}

static bool balance_read(struct kv *kv, uint8_t table, const uint8_t *key, int64_t *balance)
{
    struct kv_value value;
    if (!kv_transaction_get(kv, table, key, KEY_LEN, &value))
        return false;
    assert(value.len == 8);
    *balance = (int64_t)load_u64(value.data);
    return true;
}

static bool savings_read(struct kv *kv, uint64_t customer, struct account *a)
{
    account_key(customer, a->key);
    return balance_read(kv, SMALLBANK_SAVINGS, a->key, &a->savings);
}

static bool checking_read(struct kv *kv, uint64_t customer, struct account *a)
{
    account_key(customer, a->key);
    return balance_read(kv, SMALLBANK_CHECKING, a->key, &a->checking);
}

static bool account_read(struct kv *kv, uint64_t customer, struct account *a)
{
    return savings_read(kv, customer, a) && checking_read(kv, customer, a);
}

static int balance_write(struct kv *kv, uint8_t table, const struct account *a, int64_t balance,
                         struct error *e)
{
    uint8_t value[8];
    store_u64(value, (uint64_t)balance);
    return kv_transaction_put(kv, table, a->key, KEY_LEN, value, sizeof value, e);
}

static int savings_write(struct kv *kv, const struct account *a, struct error *e)
{
    return balance_write(kv, SMALLBANK_SAVINGS, a, a->savings, e);
}

static int checking_write(struct kv *kv, const struct account *a, struct error *e)
{
    return balance_write(kv, SMALLBANK_CHECKING, a, a->checking, e);
}

/* ---- procedures: 0 and *status, and *output when that is OK ---- */

struct execution {
    struct kv *kv;
    const struct smallbank_call *call;
    int32_t status;
    int64_t output;
    bool has_output;
};

static int finish(struct execution *x, int32_t status)
{
    x->status = status;
    return 0;
}

static int finish_with(struct execution *x, int64_t output)
{
    x->output = output;
    x->has_output = true;
    return 0;
}

static int create_account(struct execution *x, struct error *e)
{
    struct account a;
    if (account_read(x->kv, x->call->customer, &a))
        return finish(x, SMALLBANK_ACCOUNT_EXISTS);
    a.savings = x->call->amount;
    a.checking = x->call->checking;
    int rc = savings_write(x->kv, &a, e);
    return rc < 0 ? rc : checking_write(x->kv, &a, e);
}

static int balance(struct execution *x)
{
    struct account a;
    int64_t sum;
    if (!account_read(x->kv, x->call->customer, &a))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (__builtin_add_overflow(a.savings, a.checking, &sum))
        return finish(x, SMALLBANK_OVERFLOW);
    return finish_with(x, sum);
}

static int deposit_checking(struct execution *x, struct error *e)
{
    struct account a;
    if (!checking_read(x->kv, x->call->customer, &a))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (__builtin_add_overflow(a.checking, x->call->amount, &a.checking))
        return finish(x, SMALLBANK_OVERFLOW);
    finish_with(x, a.checking);
    return checking_write(x->kv, &a, e);
}

static int transact_savings(struct execution *x, struct error *e)
{
    struct account a;
    if (!savings_read(x->kv, x->call->customer, &a))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (__builtin_add_overflow(a.savings, x->call->amount, &a.savings))
        return finish(x, SMALLBANK_OVERFLOW);
    if (a.savings < 0)
        return finish(x, SMALLBANK_INSUFFICIENT);
    finish_with(x, a.savings);
    return savings_write(x->kv, &a, e);
}

static int send_payment(struct execution *x, struct error *e)
{
    struct account from, to;
    if (x->call->customer == x->call->to)
        return finish(x, SMALLBANK_SAME_ACCOUNT);
    if (!checking_read(x->kv, x->call->customer, &from) || !checking_read(x->kv, x->call->to, &to))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (from.checking < x->call->amount)
        return finish(x, SMALLBANK_INSUFFICIENT);
    if (__builtin_add_overflow(to.checking, x->call->amount, &to.checking))
        return finish(x, SMALLBANK_OVERFLOW);
    from.checking -= x->call->amount;
    finish_with(x, from.checking);
    int rc = checking_write(x->kv, &from, e);
    return rc < 0 ? rc : checking_write(x->kv, &to, e);
}

static int amalgamate(struct execution *x, struct error *e)
{
    struct account from, to;
    int64_t sum;
    if (x->call->customer == x->call->to)
        return finish(x, SMALLBANK_SAME_ACCOUNT);
    if (!account_read(x->kv, x->call->customer, &from) || !checking_read(x->kv, x->call->to, &to))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (__builtin_add_overflow(from.savings, from.checking, &sum) ||
        __builtin_add_overflow(to.checking, sum, &to.checking))
        return finish(x, SMALLBANK_OVERFLOW);
    from.savings = from.checking = 0;
    finish_with(x, to.checking);
    int rc = savings_write(x->kv, &from, e);
    if (rc == 0)
        rc = checking_write(x->kv, &from, e);
    return rc < 0 ? rc : checking_write(x->kv, &to, e);
}

static int write_check(struct execution *x, struct error *e)
{
    struct account a;
    int64_t sum;
    if (!account_read(x->kv, x->call->customer, &a))
        return finish(x, SMALLBANK_NO_ACCOUNT);
    if (__builtin_add_overflow(a.savings, a.checking, &sum))
        return finish(x, SMALLBANK_OVERFLOW);
    if (sum < x->call->amount)
        return finish(x, SMALLBANK_INSUFFICIENT);
    if (__builtin_sub_overflow(a.checking, x->call->amount, &a.checking))
        return finish(x, SMALLBANK_OVERFLOW);
    finish_with(x, a.checking);
    return checking_write(x->kv, &a, e);
}

static int execute(struct execution *x, struct error *e)
{
    switch (x->call->proc) {
    case SMALLBANK_CREATE_ACCOUNT: return create_account(x, e);
    case SMALLBANK_BALANCE: return balance(x);
    case SMALLBANK_DEPOSIT_CHECKING: return deposit_checking(x, e);
    case SMALLBANK_TRANSACT_SAVINGS: return transact_savings(x, e);
    case SMALLBANK_SEND_PAYMENT: return send_payment(x, e);
    case SMALLBANK_AMALGAMATE: return amalgamate(x, e);
    case SMALLBANK_WRITE_CHECK: return write_check(x, e);
    }
    return finish(x, PROCEDURE_UNKNOWN);
}

int smallbank_execute(struct kv *kv, const struct procedure_call *call, int32_t *status,
                      uint8_t output[static 8], size_t *output_len, struct error *e)
{
    struct smallbank_call decoded;
    struct error why;
    *output_len = 0;
    if (!form_of(call->proc)) {
        *status = PROCEDURE_UNKNOWN;
        return 0;
    }
    if (smallbank_args_decode(call->proc, call->args, call->args_len, &decoded, &why) < 0) {
        *status = PROCEDURE_ARGUMENTS;
        return 0;
    }
    struct execution x = {.kv = kv, .call = &decoded, .status = PROCEDURE_OK};
    int rc = execute(&x, e);
    if (rc < 0)
        return rc;
    *status = x.status;
    if (x.has_output) {
        store_u64(output, (uint64_t)x.output);
        *output_len = 8;
    }
    return 0;
}

/* ---- money ---- */

int64_t smallbank_total_change(const struct smallbank_call *call, int32_t status)
{
    if (status != PROCEDURE_OK)
        return 0;
    switch (call->proc) {
    case SMALLBANK_CREATE_ACCOUNT: return call->amount + call->checking;
    case SMALLBANK_DEPOSIT_CHECKING:
    case SMALLBANK_TRANSACT_SAVINGS: return call->amount;
    case SMALLBANK_WRITE_CHECK: return -call->amount;
    case SMALLBANK_BALANCE:
    case SMALLBANK_SEND_PAYMENT:
    case SMALLBANK_AMALGAMATE: return 0;
    }
    return 0;
}

static void total_add(void *context, uint8_t table, const uint8_t *key, size_t key_len,
                      struct kv_value value)
{
    int64_t *total = context;
    (void)key, (void)key_len;
    if (table == SMALLBANK_SAVINGS || table == SMALLBANK_CHECKING)
        *total += (int64_t)load_u64(value.data);
}

int64_t smallbank_total(const struct kv *kv)
{
    int64_t total = 0;
    kv_each(kv, total_add, &total);
    return total;
}

/* ---- the initial state ---- */

void smallbank_state_encode(uint64_t accounts, int64_t savings, int64_t checking,
                            uint8_t state[static SMALLBANK_STATE_LEN])
{
    store_u64(state, accounts);
    store_u64(state + 8, (uint64_t)savings);
    store_u64(state + 16, (uint64_t)checking);
}

struct initial {
    const uint8_t *savings, *checking;
    uint8_t key[KEY_LEN];
};

/* Two pairs a customer. */
static void initial_pair(void *context, uint64_t number, struct kv_pair *pair)
{
    struct initial *initial = context;
    account_key(number / 2, initial->key);
    bool savings = number % 2 == 0;
    *pair = (struct kv_pair){.table = savings ? SMALLBANK_SAVINGS : SMALLBANK_CHECKING,
                             .key = initial->key,
                             .key_len = KEY_LEN,
                             .value = savings ? initial->savings : initial->checking,
                             .value_len = 8};
}

void smallbank_prefetch(struct kv *kv, const struct procedure_call *c)
{
    struct smallbank_call call;
    struct error e;
    uint8_t key[KEY_LEN];
    if (smallbank_args_decode(c->proc, c->args, c->args_len, &call, &e) != 0)
        return;
    account_key(call.customer, key);
    if (call.proc != SMALLBANK_DEPOSIT_CHECKING && call.proc != SMALLBANK_SEND_PAYMENT)
        kv_prefetch(kv, SMALLBANK_SAVINGS, key, KEY_LEN);
    if (call.proc != SMALLBANK_TRANSACT_SAVINGS)
        kv_prefetch(kv, SMALLBANK_CHECKING, key, KEY_LEN);
    if (call.proc != SMALLBANK_SEND_PAYMENT && call.proc != SMALLBANK_AMALGAMATE)
        return;
    account_key(call.to, key);
    kv_prefetch(kv, SMALLBANK_CHECKING, key, KEY_LEN);
}

int smallbank_preload(const void *state, size_t len, struct kv *kv, struct error *e)
{
    if (len != SMALLBANK_STATE_LEN)
        return error_set(e, ATOLL_EINVAL, "SmallBank's initial state is described by %d bytes",
                         SMALLBANK_STATE_LEN);
    const uint8_t *at = state;
    uint64_t accounts = load_u64(at);
    for (int i = 0; i < 2; i++) {
        int64_t amount = (int64_t)load_u64(at + 8 + 8 * i);
        if (accounts > SMALLBANK_ACCOUNTS_MAX || amount < 0 || amount > SMALLBANK_AMOUNT_MAX)
            return error_set(e, ATOLL_EINVAL,
                             "SmallBank starts with at most %u accounts of 0 to %lld cents",
                             SMALLBANK_ACCOUNTS_MAX, (long long)SMALLBANK_AMOUNT_MAX);
    }
    struct initial initial = {.savings = at + 8, .checking = at + 16};
    return kv_preload_all(kv, 2 * accounts, initial_pair, &initial, e);
}
