/*
 * Inside the adversary: what its tricks share (adversary.c chooses and routes, forge.c makes the
 * messages, liar.c is a client who lies). From outside it is seen through cluster.h.
 *
 * A faulty machine runs the unchanged core; the adversary stands between it and the network, with
 * the keys of all faulty replicas and knowledge of everything they saw. A twin is a second body of
 * a faulty replica: with the same keys and another life it contradicts the first in every way that
 * well-formed statements allow.
 */
#ifndef SIM_ADVERSARY_H
#define SIM_ADVERSARY_H

#include "cluster.h"

enum sim_trick {
    SIM_TRICK_TWIN,          /* two bodies, each talking to some of the others */
    SIM_TRICK_EQUIVOCATE,    /* another pp at the same (v, s) for some */
    SIM_TRICK_WRONG_PP,      /* one field of a pp is wrong: M, G, dC, prev_pp, bits … */
    SIM_TRICK_BLIND_PREPARE, /* prepares without executing, opens at once */
    SIM_TRICK_MUTE,          /* keeps its nonces back */
    SIM_TRICK_WRONG_NONCE,
    SIM_TRICK_OMIT_TIP,       /* ViewChange without its last certificates */
    SIM_TRICK_OMIT_NEW_VIEW,  /* ViewChange without the NewView it rests on */
    SIM_TRICK_ANY_TIP,        /* ViewChanges with any certificates and NewView ever seen */
    SIM_TRICK_FORGE_NEW_VIEW, /* NewView with a wrong plan, base, tip or set */
    SIM_TRICK_CHOOSE_CHANGES, /* as new primary, does not hear some ViewChanges */
    SIM_TRICK_LATE,           /* its Prepares and Commits arrive much later */
    SIM_TRICK_CENSOR,         /* does not hear some clients, nor whoever relays them */
    SIM_TRICK_SKIP,           /* sends nothing to some */
    SIM_TRICK_GARBAGE,        /* damaged messages */
    SIM_TRICK_REPLAY,         /* old messages of anyone, again */
    SIM_TRICK_BAD_HISTORY,    /* wrong contents, entries, chunks, evidence for who catches up */
    SIM_TRICK_AMNESIA,        /* starts anew with an empty disk */
    SIM_TRICK_POISON,         /* passes pps on with false bodies, Prepares in others' names */
    SIM_TRICK_HOARD,      /* as primary of a new view: proposes the first of the plan only, keeps
                           * the Prepares for itself, and reports the certificate alone */
    SIM_TRICK_FALSE_TIP,  /* ViewChange whose last certificate nobody signed: an empty batch */
    SIM_TRICK_SIGN_AGAIN, /* one pp, Prepare, NewView under other valid signatures for some */
    SIM_TRICKS,
};

/* A pp that somebody proposed, and the Prepares for it that faulty replicas heard of. */
#define SIM_BALLOTS_MAX 64

struct sim_ballot {
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    uint64_t bits;
    uint8_t votes[LEDGER_REPLICAS_MAX][LEDGER_CERTIFICATE_VOTE_LEN];
    bool made; /* a certificate */
};

#define SIM_MEMORY_MAX 128 /* certificates, NewViews and messages that are remembered, each */

struct sim_adversary {
    struct sim_cluster *cluster;
    uint32_t tricks;    /* bitmap */
    unsigned eagerness; /* how often they are used, in a thousand */
    uint64_t deaf_to;   /* endpoints that are censored or skipped */
    uint8_t hearing[SIM_MACHINES_MAX]
                   [SIM_MACHINES_MAX]; /* [peer][faulty replica]: 1, 2 or both bodies */
    struct buffer certificate[SIM_MEMORY_MAX], new_view[SIM_MEMORY_MAX], message[SIM_MEMORY_MAX];
    unsigned certificates, new_views, messages; /* ever seen; the newest overwrite the oldest */
    uint64_t hoard_view[SIM_MACHINES_MAX],
        hoard_first[SIM_MACHINES_MAX]; /* (view, s) of the hoard */
    struct sim_ballot ballot[SIM_BALLOTS_MAX];
    unsigned ballots;
    /* A client who lies, and what it told before. */
    bool liar;
    uint64_t lie_number;
    struct ledger_request told;
    uint8_t told_args[8];
};

static inline struct sim_random *sim_adversary_random(const struct sim_adversary *a)
{
    return sim_world_random(&a->cluster->world, SIM_STREAM_ADVERSARY);
}

static inline bool sim_adversary_uses(const struct sim_adversary *a, enum sim_trick trick)
{
    return a->tricks >> trick & 1 && sim_random_chance(sim_adversary_random(a), a->eagerness);
}

/* A trick changed what others see. */
static inline void sim_acted(struct sim_adversary *a, enum sim_trick trick)
{
    sim_covered(&a->cluster->coverage, SIM_SECTION_TRICK, trick);
}

/* Remembers what a message holds. */
void sim_forge_learn(struct sim_adversary *, struct slice message);
/* The message, or one in its place; out is emptied. Empty: nothing is sent. */
struct slice sim_forge(struct sim_adversary *, const struct sim_machine *, unsigned to,
                       struct slice message, struct buffer *out);
/* A Prepare, and a Commit that opens it, of a faulty machine for a pp that it has just heard of. */
bool sim_forge_blind(struct sim_adversary *, const struct sim_machine *, struct slice pre_prepare,
                     struct buffer *prepare, struct buffer *commit);

/* The pp message with something wrong that its signature does not cover. */
struct slice sim_forge_poison(struct sim_adversary *, struct slice pre_prepare, struct buffer *out);
/* A Prepare for the same pp in another's name, which its signature does not bear out. */
bool sim_forge_prepare(struct sim_adversary *, struct slice pre_prepare, struct buffer *out);

/* What the client who lies sends next. */
void sim_lie(struct sim_adversary *, struct buffer *message);

#endif
