// Words that CLI11 would take for its own.
#ifndef DOVETAIL_SRC_CLI_GUARD_H_
#define DOVETAIL_SRC_CLI_GUARD_H_

#include <string>
#include <vector>

namespace dovetail::cli {

// CLI11 takes a bare ++ for itself and would drop it without a word.
bool HasBarePlusPlus(const std::vector<std::string>& arguments);

// CLI11 would read a word like [1,2] as a list and drop its brackets. So words
// that begin with one travel through it behind a byte that no option has.
void Guard(std::string& word);
void Unguard(std::string& word);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_GUARD_H_
