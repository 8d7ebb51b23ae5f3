// Accounts of memory: see account_linux.c.
#include <stdint.h>

// What is smaller is charged by sampling.
#define CHRONIK_SAMPLE (128 * 1024)

typedef struct chronik_account chronik_account;

chronik_account *chronik_account_open(int64_t bytes_max);
void chronik_account_close(chronik_account *account);
void chronik_account_keep(chronik_account *account);
void chronik_account_enter(chronik_account *account);
int64_t chronik_account_bytes(chronik_account *account);
int chronik_account_refused(chronik_account *account);
