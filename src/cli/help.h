// What the command line offers: the verbs of each type, and the longer texts of
// --help.
#ifndef DOVETAIL_SRC_CLI_HELP_H_
#define DOVETAIL_SRC_CLI_HELP_H_

#include <vector>

namespace dovetail::cli {

extern const char kFooter[];         // of dovetail itself
extern const char kMapFooter[];      // of `dovetail map`
extern const char kExecFooter[];     // of `dovetail exec`
extern const char kBucketFooter[];   // of `dovetail bucket create`
extern const char kClusterFooter[];  // of `dovetail cluster`

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

#endif  // DOVETAIL_SRC_CLI_HELP_H_
