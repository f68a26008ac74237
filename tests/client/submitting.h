// Operations as data, submitted one by one, for tests of how a client sends
// them.
#ifndef DOVETAIL_TESTS_CLIENT_SUBMITTING_H_
#define DOVETAIL_TESTS_CLIENT_SUBMITTING_H_

#include <future>
#include <string>
#include <utility>

#include "src/client/client.h"

namespace dovetail {

inline Operation AddOne(const std::string& key) {
  Mutation mutation;
  mutation.object = {"b", key, Type::kCounter};
  mutation.verb = crdt::Verb::kAdd;
  mutation.amount = 1;
  return replica::WriteRequest{{mutation}};
}

inline Operation ReadCounter(const std::string& key) {
  replica::ReadRequest read;
  read.spec.object = {"b", key, Type::kCounter};
  return read;
}

// Submits and gives the result as a future, so that a test can have many.
inline std::future<Result> Start(Client& client, Operation operation,
                                 const CallOptions& options = {}) {
  std::promise<Result> promise;
  auto future = promise.get_future();
  client.Submit(std::move(operation), options,
                [promise = std::move(promise)](Result result) mutable {
                  promise.set_value(std::move(result));
                });
  return future;
}

}  // namespace dovetail

#endif  // DOVETAIL_TESTS_CLIENT_SUBMITTING_H_
