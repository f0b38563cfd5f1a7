/* A pool of libpmemobj: `fill N` adds records by transactions until there are N, `count` reads all.
 */
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 1000 };

struct record {
  PMEMoid next;
  char content[BYTES];
};
struct root {
  PMEMoid first;
  int count;
};

static PMEMobjpool* pool;
static struct root* root;

static int add(void) {
  volatile int failed = 0;
  TX_BEGIN(pool) {
    PMEMoid id = pmemobj_tx_zalloc(sizeof(struct record), 1);
    struct record* record = pmemobj_direct(id);
    pmemobj_tx_add_range_direct(root, sizeof(*root));
    record->next = root->first;
    memset(record->content, root->count, BYTES);
    root->first = id;
    ++root->count;
  }
  TX_ONABORT { failed = 1; }
  TX_END
  return failed;
}

static int count(void) {
  int found = 0;
  for (PMEMoid at = root->first; !OID_IS_NULL(at); ++found) {
    struct record* record = pmemobj_direct(at);
    if (record->content[BYTES - 1] != (char)(root->count - 1 - found)) break;
    at = record->next;
  }
  return found;
}

int main(int argc, char** argv) {
  char line[100];
  if (argc < 2) return 2;
  pool = pmemobj_open(argv[1], "records");
  if (pool == NULL) pool = pmemobj_create(argv[1], "records", 32 << 20, 0600);
  if (pool == NULL) return 1;
  root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof(line), stdin)) {
    int failed = 0;
    if (*line == 'c') printf("ok %d records\n", count());
    while (*line == 'f' && root->count < atoi(line + 4) && !failed) failed = add();
    if (*line == 'f') puts(failed ? "caught abort" : "ok");
    fflush(stdout);
  }
  pmemobj_close(pool);
  return 0;
}
