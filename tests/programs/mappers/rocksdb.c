/* A database of RocksDB: `fill N` puts N records and flushes, `count` reads all; `ready` once it is
 * open. The second argument: whether it maps its tables (1) or reads them (0). */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rocksdb_t* db;

static char* fill(int count) {
  rocksdb_writeoptions_t* options = rocksdb_writeoptions_create();
  rocksdb_flushoptions_t* wait = rocksdb_flushoptions_create();
  char *error = NULL, key[20], value[1000];
  for (int i = 0; i < count && error == NULL; ++i) {
    memset(value, 'a' + i % 26, sizeof(value));
    int length = snprintf(key, sizeof(key), "%08d", i);
    rocksdb_put(db, options, key, length, value, sizeof(value), &error);
  }
  if (error == NULL) rocksdb_flush(db, wait, &error);
  return error;
}

static char* count(int* found) {
  rocksdb_readoptions_t* options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_fill_cache(options, 0);
  rocksdb_iterator_t* at = rocksdb_create_iterator(db, options);
  char* error = NULL;
  for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at); rocksdb_iter_next(at)) ++*found;
  rocksdb_iter_get_error(at, &error);
  rocksdb_iter_destroy(at);
  return error;
}

int main(int argc, char** argv) {
  char line[100], *failed = NULL;
  if (argc < 3) return 2;
  rocksdb_options_t* options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, 1);
  rocksdb_options_set_allow_mmap_reads(options, atoi(argv[2]));
  rocksdb_options_set_compression(options, rocksdb_no_compression);
  db = rocksdb_open(options, argv[1], &failed);
  if (failed != NULL) {
    printf("caught %s\n", failed);
    return 1;
  }
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof(line), stdin)) {
    int found = 0;
    char* error = *line == 'f' ? fill(atoi(line + 4)) : count(&found);
    if (error != NULL)
      printf("caught %.*s\n", (int)strcspn(error, ":"), error);
    else if (*line == 'c')
      printf("ok %d records\n", found);
    else
      puts("ok");
    fflush(stdout);
  }
  rocksdb_close(db);
  return 0;
}
