#include "src/cli/command_line.h"

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"
#include "src/cli/backup_commands.h"
#include "src/cli/bucket_commands.h"
#include "src/cli/caller.h"
#include "src/cli/cluster_line.h"
#include "src/cli/commands.h"
#include "src/cli/exec.h"
#include "src/cli/guard.h"
#include "src/cli/help.h"
#include "src/cli/operation.h"
#include "src/cli/words.h"
#include "src/client/client.h"

namespace dovetail::cli {
namespace {

// Everything the words were parsed into.
struct Words {
  std::string nodes = "127.0.0.1:7101";
  std::string r = "default";
  std::string w = "default";
  std::string quorums = "default";
  bool here = false;
  std::string durability = "default";
  std::string timeout;
  std::string session;
  bool json = false;

  std::string bucket;
  std::string key;
  std::vector<std::string> rest;
  std::string type;
  bool all = false;
  std::string prefix;
  std::optional<std::string> after;
  std::string after_type;
  std::optional<uint64_t> limit;
  std::string token;
  bool token_out = false;
  std::string ttl;
  size_t in_flight = 256;
  bool route = false;
  std::string file = "-";
  ClusterWords cluster;
};

class CommandLine {
 public:
  explicit CommandLine(const Streams& streams);
  int Run(std::vector<std::string> arguments);

 private:
  void AddShared();
  void AddTypes();
  void AddMap();
  void AddObjects();
  void AddExpiry();
  void AddInspection();
  void AddCluster();
  void AddBuckets();
  void AddExec();
  CLI::App* AddCommand(CLI::App* parent, const std::string& name,
                       const std::string& help);
  void AddPlace(CLI::App* command);
  void AddPageOptions(CLI::App* command);
  void AddTokenOption(CLI::App* command);
  void AddTtlOption(CLI::App* command);

  // Makes a job of what was parsed.
  absl::StatusOr<Job> OperationJob(Target target, std::string verb,
                                   absl::Span<const std::string> words) const;
  absl::StatusOr<Job> MapJob() const;
  absl::StatusOr<Job> DeleteJob() const;
  absl::StatusOr<Job> ExpiryJob(const std::string& verb) const;
  absl::StatusOr<Job> KeysJob() const;
  absl::StatusOr<Job> ExecJob() const;
  BucketWords Said() const;
  absl::StatusOr<CallOptions> Call() const;
  absl::StatusOr<ClientOptions> Options() const;
  int Usage(const absl::Status& status) const;

  const Streams& streams_;
  CLI::App app_{"dovetail: talk to a Dovetail cluster", "dovetail"};
  Words words_;
  std::function<absl::StatusOr<Job>()> chosen_;
  LocalJob local_;  // instead of it
};

CommandLine::CommandLine(const Streams& streams) : streams_(streams) {
  app_.require_subcommand(1, 1);
  AddShared();
  AddTypes();
  AddMap();
  AddObjects();
  AddExpiry();
  AddInspection();
  AddCluster();
  AddBuckets();
  AddExec();
  app_.footer(kFooter);  // last: commands would inherit it
}

void CommandLine::AddShared() {
  app_.add_option("--node,--nodes", words_.nodes,
                  "HOST:PORT[,...]; the first that answers is used, then the "
                  "next (environment: DOVETAIL_NODES)")
      ->envname("DOVETAIL_NODES")
      ->capture_default_str();
  app_.add_option("--r", words_.r,
                  "replicas that must answer a read: default, one, quorum, "
                  "all, local_one, local_quorum, each_quorum, or a number")
      ->capture_default_str();
  app_.add_option("--w", words_.w, "replicas that must acknowledge a write")
      ->capture_default_str();
  app_.add_option("--quorums", words_.quorums,
                  "sloppy: nodes that can be reached stand in for owners that "
                  "cannot; strict: only owners count; or default")
      ->capture_default_str();
  app_.add_flag("--here", words_.here,
                "read what the asked node holds, whatever it owns");
  app_.add_option("--durability", words_.durability,
                  "of an acknowledgement: wal (fsynced within a second), fsync "
                  "(on disk), or default")
      ->capture_default_str();
  app_.add_option("--timeout", words_.timeout,
                  "for one operation, as in 500ms or 2s");
  app_.add_option("--session", words_.session,
                  "FILE of a causal session: see what commands with it saw "
                  "before, and add to it what this one sees");
  app_.add_flag("--json", words_.json, "print JSON, one value a line");
}

CLI::App* CommandLine::AddCommand(CLI::App* parent, const std::string& name,
                                  const std::string& help) {
  CLI::App* command = parent->add_subcommand(name, help);
  command->fallthrough();  // shared options may stand behind it too
  return command;
}

void CommandLine::AddPlace(CLI::App* command) {
  command->add_option("BUCKET", words_.bucket)->required();
  command->add_option("KEY", words_.key)->required();
}

void CommandLine::AddPageOptions(CLI::App* command) {
  command->add_option("--after", words_.after,
                      "only what comes after this (maps: NAME:TYPE)");
  command->add_option("--limit", words_.limit, "at most so many")
      ->check(CLI::PositiveNumber);
}

void CommandLine::AddTokenOption(CLI::App* command) {
  command->add_option("--token", words_.token,
                      "act on exactly what the read that gave this token saw");
}

void CommandLine::AddTtlOption(CLI::App* command) {
  command->add_option("--ttl", words_.ttl,
                      "in one change with it: the object expires after this, "
                      "as in 90s, 24h or 30d");
}

void CommandLine::AddTypes() {
  for (const TypeRow& type_row : TypeRows()) {
    CLI::App* group = AddCommand(&app_, type_row.name, type_row.help);
    group->require_subcommand(1, 1);
    const Type type = *crdt::TypeFromName(type_row.name);
    for (const VerbRow& row : type_row.verbs) {
      CLI::App* command = AddCommand(group, row.name, row.help);
      AddPlace(command);
      if (*row.words != '\0') {
        command->add_option(row.words, words_.rest)->required();
      }
      const std::string verb = row.name;
      if (verb == "read") {
        if (crdt::HasElements(type)) AddPageOptions(command);
        command->add_flag("--token-out", words_.token_out,
                          "print the token of what was read");
      } else if (verb != "contains") {
        AddTokenOption(command);
        AddTtlOption(command);
      }
      command->callback([this, type, verb] {
        chosen_ = [this, type, verb] {
          return OperationJob({{words_.bucket, words_.key, type}, {}}, verb,
                              words_.rest);
        };
      });
    }
  }
}

void CommandLine::AddMap() {
  CLI::App* map = AddCommand(&app_, "map", "maps of typed fields, nested");
  map->add_option("WORDS", words_.rest, "see below")->required();
  map->footer(kMapFooter);
  AddPageOptions(map);
  AddTokenOption(map);
  AddTtlOption(map);
  map->add_flag("--token-out", words_.token_out,
                "print the token of what was read");
  map->callback([this] { chosen_ = [this] { return MapJob(); }; });
}

void CommandLine::AddObjects() {
  CLI::App* get = AddCommand(&app_, "get", "every type that lives under a key");
  AddPlace(get);
  get->callback([this] {
    chosen_ = [this]() -> absl::StatusOr<Job> {
      DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
      return [this, call](Caller& caller, const Output& output) {
        return RunGet(caller, words_.bucket, words_.key, call, output);
      };
    };
  });
  CLI::App* remove = AddCommand(&app_, "delete",
                                "delete an object, or all "
                                "types under a key");
  AddPlace(remove);
  remove->add_option("TYPE", words_.type, "which of them");
  remove->add_flag("--all", words_.all, "all of them");
  AddTokenOption(remove);
  remove->callback([this] { chosen_ = [this] { return DeleteJob(); }; });

  CLI::App* keys = AddCommand(
      &app_, "keys",
      "the objects of a bucket, in order of key and type, as --r replicas "
      "know them");
  keys->add_option("BUCKET", words_.bucket)->required();
  keys->add_option("--prefix", words_.prefix, "only keys that start so");
  keys->add_option("--after", words_.after, "only keys after this");
  keys->add_option("--after-type", words_.after_type,
                   "also this key's types after that one");
  keys->add_option("--limit", words_.limit, "at most so many objects")
      ->check(CLI::PositiveNumber);
  keys->callback([this] { chosen_ = [this] { return KeysJob(); }; });
}

void CommandLine::AddExpiry() {
  const std::pair<const char*, const char*> commands[] = {
      {"expire", "let an object expire: hidden then, and removed soon after"},
      {"persist", "let an object live: takes back when it expires"},
      {"ttl", "how long an object has to live, and until when"}};
  for (const auto& [name, help] : commands) {
    CLI::App* command = AddCommand(&app_, name, help);
    AddPlace(command);
    command->add_option("TYPE", words_.type, "which type under the key")
        ->required();
    const std::string verb = name;
    if (verb == "expire") {
      command->add_option("TTL", words_.ttl, "from now, as in 90s, 24h or 30d")
          ->required();
    }
    if (verb != "ttl") AddTokenOption(command);
    command->callback(
        [this, verb] { chosen_ = [this, verb] { return ExpiryJob(verb); }; });
  }
}

void CommandLine::AddInspection() {
  AddCommand(&app_, "status", "of the node that answers")->callback([this] {
    chosen_ = []() -> absl::StatusOr<Job> { return OfClient(RunStatus); };
  });
  AddCommand(&app_, "digest",
             "of each partition, as the node that answers holds it; replicas "
             "that agree have equal ones")
      ->callback([this] {
        chosen_ = []() -> absl::StatusOr<Job> { return OfClient(RunDigest); };
      });
}

void CommandLine::AddCluster() {
  AddClusterCommands(
      app_, words_.cluster, words_.bucket, words_.key, words_.rest,
      [this](Job job) {
        chosen_ = [job = std::move(job)]() -> absl::StatusOr<Job> {
          return job;
        };
      },
      [this](LocalJob job) { local_ = std::move(job); });
}

void CommandLine::AddBuckets() {
  const auto choose = [this](std::function<absl::StatusOr<ClientJob>()> make) {
    chosen_ = [make = std::move(make)]() -> absl::StatusOr<Job> {
      DOVETAIL_ASSIGN_OR_RETURN(ClientJob run, make());
      return OfClient(std::move(run));
    };
  };
  AddBucketCommands(
      app_, words_.bucket, [this] { return Said(); }, choose);
  AddBackupCommands(app_, words_.nodes, choose,
                    [this](LocalJob run) { local_ = std::move(run); });
}

void CommandLine::AddExec() {
  CLI::App* exec = AddCommand(
      &app_, "exec", "run operations given as JSON lines, many at once");
  exec->add_option("FILE", words_.file, "- is standard input")
      ->capture_default_str();
  exec->add_option("--in-flight", words_.in_flight,
                   "lines on their way at once")
      ->capture_default_str()
      ->check(CLI::Range(size_t{1}, size_t{65536}));
  exec->add_flag("--route", words_.route,
                 "send each line straight to an owner of its key");
  exec->footer(kExecFooter);
  exec->callback([this] { chosen_ = [this] { return ExecJob(); }; });
}

absl::StatusOr<CallOptions> CommandLine::Call() const {
  CallOptions call;
  DOVETAIL_ASSIGN_OR_RETURN(call.read, ParseLevel(words_.r));
  DOVETAIL_ASSIGN_OR_RETURN(call.write, ParseLevel(words_.w));
  DOVETAIL_ASSIGN_OR_RETURN(call.quorums, ParseQuorums(words_.quorums));
  call.here = words_.here;
  if (words_.durability != "default") {
    DOVETAIL_ASSIGN_OR_RETURN(call.durability,
                              ParseDurability(words_.durability));
  }
  if (!words_.timeout.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(call.timeout, ParseTimeout(words_.timeout));
  }
  return call;
}

absl::StatusOr<Job> CommandLine::OperationJob(
    Target target, std::string verb,
    absl::Span<const std::string> words) const {
  DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
  DOVETAIL_ASSIGN_OR_RETURN(Arguments arguments,
                            ArgumentsFromWords(target.type(), verb, words));
  if (!words_.token.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(arguments.token, ParseToken(words_.token));
  }
  arguments.after = words_.after;
  arguments.limit = words_.limit.value_or(0);
  arguments.want_token = words_.token_out;
  DOVETAIL_ASSIGN_OR_RETURN(Operation operation,
                            MakeOperation(target, verb, arguments));
  if (!words_.ttl.empty()) {
    DOVETAIL_RETURN_IF_ERROR(AddTtl(words_.ttl, operation));
  }
  return [call, operation = std::move(operation)](Caller& caller,
                                                  const Output& output) {
    return RunOperation(caller, operation, call, output);
  };
}

absl::StatusOr<Job> CommandLine::MapJob() const {
  absl::Span<const std::string> words = words_.rest;
  const std::string form = words.front();
  if (form == "read" || form == "remove" || form == "clear") {
    if (words.size() < 3) {
      return absl::InvalidArgumentError(
          absl::StrCat("`map ", form, "` needs BUCKET and KEY"));
    }
    return OperationJob({{words[1], words[2], Type::kMap}, {}}, form,
                        words.subspan(3));
  }
  if (form == "at") words.remove_prefix(1);
  if (words.size() < 4) {
    return absl::InvalidArgumentError(
        "`map` needs BUCKET KEY PATH VERB; see dovetail map --help");
  }
  DOVETAIL_ASSIGN_OR_RETURN(auto fields, ParsePath(words[2]));
  return OperationJob({{words[0], words[1], Type::kMap}, std::move(fields)},
                      words[3], words.subspan(4));
}

absl::StatusOr<Job> CommandLine::DeleteJob() const {
  DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
  if (words_.all != words_.type.empty()) {
    return absl::InvalidArgumentError("`delete` takes either a TYPE or --all");
  }
  std::optional<Type> type;
  if (!words_.all) {
    DOVETAIL_ASSIGN_OR_RETURN(type, ParseType(words_.type));
  }
  std::optional<Token> token;
  if (!words_.token.empty()) {
    if (words_.all) {
      return absl::InvalidArgumentError("a token is of one object: no --all");
    }
    DOVETAIL_ASSIGN_OR_RETURN(token, ParseToken(words_.token));
  }
  return [this, call, type, token](Caller& caller, const Output& output) {
    return RunDelete(caller, words_.bucket, words_.key, type, token, call,
                     output);
  };
}

absl::StatusOr<Job> CommandLine::ExpiryJob(const std::string& verb) const {
  DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
  DOVETAIL_ASSIGN_OR_RETURN(const Type type, ParseType(words_.type));
  const ObjectId object{words_.bucket, words_.key, type};
  if (verb == "ttl") {
    return [object, call](Caller& caller, const Output& output) {
      return RunTtl(caller, object, call, output);
    };
  }
  Arguments arguments;
  if (verb == "expire") {
    DOVETAIL_ASSIGN_OR_RETURN(arguments.time_ms, ParseTtl(words_.ttl));
  }
  if (!words_.token.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(arguments.token, ParseToken(words_.token));
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Operation operation,
                            MakeOperation({object, {}}, verb, arguments));
  return [operation, call](Caller& caller, const Output& output) {
    return RunOperation(caller, operation, call, output);
  };
}

absl::StatusOr<Job> CommandLine::KeysJob() const {
  KeysOptions options{
      words_.bucket, words_.prefix, words_.after, {}, words_.limit};
  if (!words_.after_type.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(options.after_type, ParseType(words_.after_type));
    if (!options.after.has_value()) {
      return absl::InvalidArgumentError("--after-type goes with --after");
    }
  }
  DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
  return [options, call](Caller& caller, const Output& output) {
    return RunKeys(caller, options, call, output);
  };
}

absl::StatusOr<Job> CommandLine::ExecJob() const {
  ExecOptions options;
  DOVETAIL_ASSIGN_OR_RETURN(options.call, Call());
  options.in_flight = words_.in_flight;
  if (streams_.show_progress) options.progress = &streams_.error;
  std::shared_ptr<std::ifstream> file;
  const bool standard_input = words_.file == "-";
  if (!standard_input) {
    file = std::make_shared<std::ifstream>(words_.file);
    if (!file->is_open()) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read ", words_.file));
    }
  }
  struct stat info {};
  if ((standard_input ? fstat(0, &info) : stat(words_.file.c_str(), &info)) ==
          0 &&
      S_ISREG(info.st_mode)) {
    options.input_bytes = static_cast<uint64_t>(info.st_size);
  }
  return [this, options, file](Caller& caller, const Output& output) {
    std::istream& in = file == nullptr ? streams_.in : *file;
    const ExecSummary summary = Exec(caller, in, output.out, options);
    if (summary.output_broken) {
      output.error << "dovetail: cannot write results; stopped at line "
                   << summary.lines << "\n";
    } else if (summary.failed > 0) {
      output.error << "dovetail: " << summary.failed << " of " << summary.lines
                   << " lines failed\n";
    }
    return summary.failed > 0 || summary.output_broken ? Exit::kFailed
                                                       : Exit::kOk;
  };
}

// Of the shared options those that are on the command line.
BucketWords CommandLine::Said() const {
  const auto said = [this](const char* option, const std::string& word) {
    return app_.count(option) > 0 ? std::optional(word) : std::nullopt;
  };
  return {said("--r", words_.r),
          said("--w", words_.w),
          said("--quorums", words_.quorums),
          said("--durability", words_.durability),
          said("--timeout", words_.timeout),
          std::nullopt,
          std::nullopt,
          words_.here};
}

absl::StatusOr<ClientOptions> CommandLine::Options() const {
  ClientOptions options;
  options.name = "dovetail command";
  // --node says who is asked.
  options.route = words_.route;
  // exec bounds itself, by lines.
  options.operations_in_flight_max = std::numeric_limits<size_t>::max();
  options.bytes_in_flight_max = std::numeric_limits<size_t>::max();
  DOVETAIL_ASSIGN_OR_RETURN(const CallOptions call, Call());
  if (call.timeout > absl::ZeroDuration()) options.timeout = call.timeout;
  return options;
}

int CommandLine::Usage(const absl::Status& status) const {
  streams_.error << "dovetail: " << status.message() << "\n";
  return static_cast<int>(Exit::kUsage);
}

void UnguardAll(Words& words) {
  for (std::string* word : {&words.bucket, &words.key, &words.prefix,
                            &words.file, &words.type, &words.cluster.node}) {
    Unguard(*word);
  }
  for (std::string& word : words.rest) Unguard(word);
  if (words.after.has_value()) Unguard(*words.after);
}

int CommandLine::Run(std::vector<std::string> arguments) {
  if (HasBarePlusPlus(arguments)) {
    return Usage(absl::InvalidArgumentError(
        "a word ++ goes behind a double dash, as in: ... -- ++"));
  }
  for (std::string& word : arguments) Guard(word);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app_.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    const bool asked_for_help = error.get_exit_code() == 0;
    app_.exit(error, streams_.out, streams_.error);
    return static_cast<int>(asked_for_help ? Exit::kOk : Exit::kUsage);
  }
  UnguardAll(words_);
  const Output output{streams_.out, streams_.error, words_.json};
  if (local_) return static_cast<int>(local_(output));
  const auto job = chosen_();
  if (!job.ok()) return Usage(job.status());
  const auto options = Options();
  if (!options.ok()) return Usage(options.status());
  auto client = Client::Connect(
      absl::StrSplit(words_.nodes, ',', absl::SkipWhitespace()), *options);
  if (!client.ok()) {
    if (absl::IsInvalidArgument(client.status())) {
      return Usage(client.status());
    }
    Fail(output, OperationKind::kRead, client.status());
    return static_cast<int>(Exit::kUnreachable);
  }
  Caller caller(**client);
  if (!words_.session.empty()) {
    const absl::Status opened = caller.OpenSession(words_.session);
    if (!opened.ok()) return Usage(opened);
  }
  Exit exit = (*job)(caller, output);
  streams_.out.flush();
  if (const absl::Status saved = caller.SaveSession(); !saved.ok()) {
    streams_.error << "dovetail: " << saved.message()
                   << "; what was done is done\n";
    exit = Exit::kMaybe;
  }
  return static_cast<int>(exit);
}

}  // namespace

int RunCommandLine(std::vector<std::string> arguments, const Streams& streams) {
  CommandLine command_line(streams);
  return command_line.Run(std::move(arguments));
}

}  // namespace dovetail::cli
