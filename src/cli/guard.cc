#include "src/cli/guard.h"

#include <algorithm>

namespace dovetail::cli {
namespace {

constexpr char kGuard = '\x01';

}  // namespace

bool HasBarePlusPlus(const std::vector<std::string>& arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::find(arguments.begin(), end, "++") != end;
}

void Guard(std::string& word) {
  if (!word.empty() && (word.front() == '[' || word.front() == kGuard)) {
    word.insert(word.begin(), kGuard);
  }
}

void Unguard(std::string& word) {
  if (!word.empty() && word.front() == kGuard) word.erase(word.begin());
}

}  // namespace dovetail::cli
