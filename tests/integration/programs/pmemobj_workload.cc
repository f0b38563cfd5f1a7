// A program on libpmemobj, as one finds in its manual: a list that grows by transactions.
//
//   pmemobj_workload create FILE SIZE
//   pmemobj_workload append FILE COUNT    prints how many nodes there are, after each transaction
//   pmemobj_workload check FILE           prints the same; fails when the list isn't whole
#include <libpmemobj.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

constexpr const char* kLayout = "list";
constexpr size_t kPayload = 1000;

struct Root {
  PMEMoid head;
  uint64_t count;
  uint64_t sum;
};

struct Node {
  PMEMoid next;
  uint64_t value;
  unsigned char payload[kPayload];
};

int failed(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, pmemobj_errormsg());
  return 1;
}

int append(PMEMobjpool* pool, uint64_t count) {
  const PMEMoid root_id = pmemobj_root(pool, sizeof(Root));
  auto* root = static_cast<Root*>(pmemobj_direct(root_id));
  for (uint64_t i = 0; i < count; ++i) {
    if (pmemobj_tx_begin(pool, nullptr, TX_PARAM_NONE) != 0) return failed("begin");
    pmemobj_tx_add_range(root_id, 0, sizeof(Root));
    const PMEMoid id = pmemobj_tx_alloc(sizeof(Node), 1);
    if (OID_IS_NULL(id)) return failed("alloc");
    auto* node = static_cast<Node*>(pmemobj_direct(id));
    node->next = root->head;
    node->value = root->count + 1;
    for (unsigned char& byte : node->payload) byte = static_cast<unsigned char>(node->value);
    root->head = id;
    root->count += 1;
    root->sum += node->value;
    pmemobj_tx_commit();
    if (pmemobj_tx_end() != 0) return failed("end");
    std::printf("%llu\n", static_cast<unsigned long long>(root->count));
    std::fflush(stdout);
  }
  return 0;
}

int check(PMEMobjpool* pool) {
  const auto* root = static_cast<const Root*>(pmemobj_direct(pmemobj_root(pool, sizeof(Root))));
  uint64_t count = 0, sum = 0;
  for (PMEMoid id = root->head; !OID_IS_NULL(id); ++count) {
    const auto* node = static_cast<const Node*>(pmemobj_direct(id));
    if (node->value != root->count - count) return failed("a node is out of order");
    for (const unsigned char byte : node->payload) {
      if (byte != static_cast<unsigned char>(node->value)) return failed("a payload is torn");
    }
    sum += node->value;
    id = node->next;
  }
  if (count != root->count || sum != root->sum) return failed("the list is not whole");
  std::printf("%llu\n", static_cast<unsigned long long>(count));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string verb = argv[1];
  PMEMobjpool* pool =
      verb == "create" ? pmemobj_create(argv[2], kLayout, std::strtoull(argv[3], nullptr, 0), 0600)
                       : pmemobj_open(argv[2], kLayout);
  if (pool == nullptr) return failed(argv[2]);
  int result = 0;
  if (verb == "append") result = append(pool, std::strtoull(argv[3], nullptr, 0));
  if (verb == "check") result = check(pool);
  pmemobj_close(pool);
  return result;
}
