/* A database of LMDB: `fill N` puts N records, `count` reads all, `ready` once it is open. Flags:
 * 0, MDB_WRITEMAP or MDB_WRITEMAP | MDB_MAPASYNC, as a number. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MDB_env* env;

static int fill(int count) {
  MDB_txn* txn;
  MDB_dbi dbi;
  static char content[1000];
  int failed = mdb_txn_begin(env, NULL, 0, &txn);
  if (failed) return failed;
  failed = mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi);
  for (int i = 0; i < count && !failed; ++i) {
    MDB_val key = {sizeof(i), &i}, value = {sizeof(content), content};
    memset(content, i, sizeof(content));
    failed = mdb_put(txn, dbi, &key, &value, 0);
  }
  if (!failed) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return failed;
}

static int count(int* found) {
  MDB_txn* txn;
  MDB_dbi dbi;
  MDB_cursor* cursor;
  MDB_val key, value;
  *found = 0;
  int failed = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
  if (failed) return failed;
  failed = mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi);
  if (!failed) failed = mdb_cursor_open(txn, dbi, &cursor);
  if (!failed) {
    while ((failed = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
      *found += ((char*)value.mv_data)[value.mv_size - 1] == (char)*(int*)key.mv_data;
    if (failed == MDB_NOTFOUND) failed = 0;
    mdb_cursor_close(cursor);
  }
  mdb_txn_abort(txn);
  return failed;
}

int main(int argc, char** argv) {
  char line[100];
  int failed = argc < 3 ? 1 : mdb_env_create(&env);
  if (!failed) failed = mdb_env_set_mapsize(env, 64 << 20);
  if (!failed) failed = mdb_env_open(env, argv[1], MDB_NOSUBDIR | atoi(argv[2]), 0600);
  printf(failed ? "caught %s\n" : "ready\n", mdb_strerror(failed));
  fflush(stdout);
  while (!failed && fgets(line, sizeof(line), stdin)) {
    int found = 0;
    int error = strncmp(line, "fill", 4) == 0 ? fill(atoi(line + 4)) : count(&found);
    if (error)
      printf("caught %s\n", mdb_strerror(error));
    else if (*line == 'c')
      printf("ok %d records\n", found);
    else
      puts("ok");
    fflush(stdout);
  }
  return failed;
}
