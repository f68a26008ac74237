// The words of the `dovetail` command: types, verbs, and what its help says
// below the options.
#ifndef DOVETAIL_SRC_CLI_VOCABULARY_H_
#define DOVETAIL_SRC_CLI_VOCABULARY_H_

#include <vector>

namespace dovetail::cli {

extern const char kFooter[];
extern const char kMapFooter[];
extern const char kExecFooter[];

// A verb as the command line offers it: what follows BUCKET KEY.
struct VerbRow {
  const char* name;
  const char* words;  // "" if none follow
  const char* help;
};
struct TypeRow {
  const char* name;
  const char* help;
  std::vector<VerbRow> verbs;
};
std::vector<TypeRow> TypeRows();

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_VOCABULARY_H_
