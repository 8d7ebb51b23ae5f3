//go:build !nosql

// Every allocation of DuckDB passes here: the linker puts these functions in the
// place of the allocator's that it calls (ld's --wrap), and operator new and delete
// are replaced, as C++ provides for, for the C++ library too. A thread that has entered
// an account charges it with what it allocates, whoever frees it. Allocations of
// CHRONIK_SAMPLE bytes and more are charged one by one, smaller ones by sampling: each
// CHRONIK_SAMPLE bytes of them, the one at hand stands for all. So the account is exact
// for what is large and right on the average for the rest, and most calls cost a
// comparison.
//
// What would go over an account's bound is refused when it is large: DuckDB ends
// the query as out of memory. Small allocations are never refused, since a few
// places cannot take that; who watches the account has to end the query.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "account.h"

#define PURGE (16 << 20) // bytes of an allocation whose end gives pages back
#define BUCKETS (1 << 16)
#define LOCKS 64

struct chronik_account {
	_Atomic int64_t bytes;      // charged now
	_Atomic int64_t references; // of the owner, and of each charge
	_Atomic int refused;
	int64_t bytes_max;
};

// A charge is an allocation and the bytes that it stands for.
typedef struct charge {
	struct charge *next;
	void *at;
	chronik_account *account;
	int64_t bytes;
} charge;

static charge *_Atomic buckets[BUCKETS];
static pthread_mutex_t locks[LOCKS] = {[0 ... LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local chronik_account *current;
static _Thread_local int64_t pending; // small bytes since the last sample

void *__real_duckdb_je_malloc(size_t size);
void *__real_duckdb_je_realloc(void *at, size_t size);
void __real_duckdb_je_free(void *at);
int duckdb_je_mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size);
void _ZSt17__throw_bad_allocv(void); // std::__throw_bad_alloc

chronik_account *chronik_account_open(int64_t bytes_max) {
	chronik_account *account = calloc(1, sizeof *account);
	if (account) {
		account->references = 1;
		account->bytes_max = bytes_max;
	}
	return account;
}

static void unreference(chronik_account *account) {
	if (atomic_fetch_sub(&account->references, 1) == 1) free(account);
}

void chronik_account_keep(chronik_account *account) { atomic_fetch_add(&account->references, 1); }

void chronik_account_close(chronik_account *account) { unreference(account); }

void chronik_account_enter(chronik_account *account) {
	current = account;
	pending = 0;
}

int64_t chronik_account_bytes(chronik_account *account) { return atomic_load(&account->bytes); }

int chronik_account_refused(chronik_account *account) { return atomic_load(&account->refused); }

static size_t bucket_of(void *at) {
	return (size_t)(((uint64_t)(uintptr_t)at * 0x9E3779B97F4A7C15u) >> 48) & (BUCKETS - 1);
}

// admits says whether the account has room for an allocation, and remembers that
// it had none.
static int admits(size_t size) {
	if (!current || size < CHRONIK_SAMPLE) return 1;
	int64_t bytes = atomic_load_explicit(&current->bytes, memory_order_relaxed);
	if (size <= (size_t)current->bytes_max && bytes <= current->bytes_max - (int64_t)size) return 1;
	atomic_store(&current->refused, 1);
	return 0;
}

static void put_charge(charge *c) {
	size_t b = bucket_of(c->at);
	pthread_mutex_lock(&locks[b % LOCKS]);
	c->next = buckets[b];
	buckets[b] = c;
	pthread_mutex_unlock(&locks[b % LOCKS]);
}

// charge_current charges this thread's account with an allocation, if it is one
// that counts.
static void charge_current(void *at, size_t size) {
	if (!current || !at) return;
	int64_t bytes = (int64_t)size;
	if (size < CHRONIK_SAMPLE) {
		pending += bytes;
		if (pending < CHRONIK_SAMPLE) return;
		bytes = pending;
		pending = 0;
	}
	charge *c = malloc(sizeof *c);
	if (!c) return; // it goes uncounted
	*c = (charge){.at = at, .account = current, .bytes = bytes};
	atomic_fetch_add(&current->references, 1);
	atomic_fetch_add(&current->bytes, bytes);
	put_charge(c);
}

// take_charge takes the charge of an allocation out of the table, if there is one.
static charge *take_charge(void *at) {
	size_t b = bucket_of(at);
	if (!atomic_load_explicit(&buckets[b], memory_order_relaxed)) return NULL;
	charge *found = NULL, *before = NULL;
	pthread_mutex_lock(&locks[b % LOCKS]);
	for (found = buckets[b]; found && found->at != at; found = found->next) before = found;
	if (found && before) before->next = found->next;
	if (found && !before) buckets[b] = found->next;
	pthread_mutex_unlock(&locks[b % LOCKS]);
	return found;
}

// discharge ends the charge of an allocation, and returns how many bytes it was of.
static int64_t discharge(void *at) {
	charge *c = take_charge(at);
	if (!c) return 0;
	int64_t bytes = c->bytes;
	atomic_fetch_sub(&c->account->bytes, bytes);
	unreference(c->account);
	free(c);
	return bytes;
}

// give_back returns free pages to the system, which the allocator keeps for a
// second: a value that grows is copied into ever larger places, and would have
// several times its size.
static void give_back(void) {
	duckdb_je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); // 4096: all arenas
}

void *__wrap_duckdb_je_malloc(size_t size) {
	if (!admits(size)) {
		errno = ENOMEM;
		return NULL;
	}
	void *at = __real_duckdb_je_malloc(size);
	charge_current(at, size);
	return at;
}

void *__wrap_duckdb_je_realloc(void *from, size_t size) {
	charge *before = take_charge(from); // first: once it is free, others may get the address
	if (before) atomic_fetch_sub(&before->account->bytes, before->bytes);
	void *at = NULL;
	if (admits(size))
		at = __real_duckdb_je_realloc(from, size);
	else
		errno = ENOMEM;
	if (!before) {
		charge_current(at, size);
		return at;
	}
	if (at || !size) {
		if (before->bytes >= PURGE) give_back();
		unreference(before->account);
		free(before);
		charge_current(at, size);
		return at;
	}
	atomic_fetch_add(&before->account->bytes, before->bytes);
	put_charge(before);
	return NULL;
}

void __wrap_duckdb_je_free(void *at) {
	int64_t bytes = discharge(at);
	__real_duckdb_je_free(at);
	if (bytes >= PURGE) give_back();
}

// operator new. The library's other forms call this one.
void *_Znwm(size_t size) {
	void *at = admits(size) ? malloc(size ? size : 1) : NULL;
	if (!at) _ZSt17__throw_bad_allocv();
	charge_current(at, size);
	return at;
}

// operator delete
void _ZdlPv(void *at) {
	discharge(at);
	free(at);
}
