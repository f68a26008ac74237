// The dovetail command, run in this process against a fake node.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "src/cli/json.h"
#include "src/cli/words.h"
#include "tests/client/shell.h"

namespace dovetail::cli {
namespace {

TEST_CASE("dovetail: every type is written and read by its words") {
  Shell shell;
  CHECK(shell.Out("set add shop cart milk bread") == "ok, 1 acknowledgement\n");
  CHECK(shell.Out("set read shop cart") == "{bread, milk}\n");
  CHECK(shell.Out("set contains shop cart milk") == "true\n");
  CHECK(shell.Out("set remove shop cart eggs") ==
        "ok, 1 acknowledgement; nothing to remove was observed\n");
  CHECK(shell.Out("set clear shop cart") == "ok, 1 acknowledgement\n");
  CHECK(shell.Out("set contains shop cart milk") == "false\n");
  shell.Out("rwset add shop w x y");
  shell.Out("rwset remove shop w x");
  CHECK(shell.Out("rwset read shop w") == "{y}\n");
  shell.Out("gset add shop g x");
  CHECK(shell.Out("gset read shop g") == "{x}\n");
  shell.Out("counter add shop c 5");
  shell.Out("counter add shop c -7");
  CHECK(shell.Out("counter read shop c") == "-2\n");
  shell.Out("counter reset shop c");
  CHECK(shell.Out("counter read shop c") == "0\n");
  shell.Out("register write shop r v");
  CHECK(shell.Out("register read shop r") == "\"v\"\n");
  shell.Out("register clear shop r");
  CHECK(shell.Out("register read shop r") == "absent\n");
  shell.Out("mv write shop m b");
  shell.Out("mv write-blind shop m a");
  CHECK(shell.Out("mv read shop m") == "{\"a\", \"b\"}\n");
  CHECK(shell.Out("ewflag read shop f") == "false\n");
  shell.Out("ewflag enable shop f");
  CHECK(shell.Out("ewflag read shop f") == "true\n");
  CHECK(shell.Out("dwflag read shop f") == "true\n");
  shell.Out("dwflag disable shop f");
  CHECK(shell.Out("dwflag read shop f") == "false\n");
}

TEST_CASE("dovetail: maps are written by path") {
  Shell shell;
  shell.Out("map users ann tags:set add x y");
  shell.Out("map users ann address:map/moves:counter add -3");
  shell.Out("map users ann address:map/city:register write Graz");
  CHECK(shell.Out("map read users ann") ==
        "{address:map: {city:register: \"Graz\", moves:counter: -3}, "
        "tags:set: {x, y}}\n");
  CHECK(shell.Out("map users ann tags:set read") == "{x, y}\n");
  CHECK(shell.Out("map users ann tags:set contains x") == "true\n");
  shell.Out("map users ann address:map remove moves:counter");
  shell.Out("map remove users ann tags:set");
  CHECK(shell.Out("--json map read users ann") ==
        "{\"ok\":true,\"present\":true,\"value\":"
        "{\"address:map\":{\"city:register\":\"Graz\"}}}\n");
  shell.Out("map clear users ann");
  CHECK(shell.Out("map read users ann") == "{}\n");
  shell.Out("map at read k f:set add x");
  CHECK(shell.Out("map at read k f:set read") == "{x}\n");
}

TEST_CASE("dovetail: words that look like commands or options are data") {
  Shell shell;
  const std::vector<std::string> odd = {"get",  "set", "add",  "{}",  "[a]",
                                        "%%",   "a,b", "-1",   "x=y", "",
                                        "\xff", "#",   "\"q\""};
  std::vector<std::string> arguments = {"set", "add", "b", "k"};
  arguments.insert(arguments.end(), odd.begin(), odd.end());
  CHECK(shell.With(arguments).exit == 0);
  CHECK(shell.With({"set", "add", "b", "k", "--", "-x", "--json", "++"}).exit ==
        0);
  CHECK(shell.Out("--json set read b k") ==
        R"({"ok":true,"present":true,"value":["","\"q\"","#","%%","++",)"
        R"("--json","-1","-x","[a]","a,b","add","get","set","x=y","{}",)"
        R"({"base64":"/w=="}]})"
        "\n");
}

TEST_CASE("dovetail: options may stand before or behind the command") {
  Shell shell;
  shell.Out("set add b k x --w all --durability fsync --timeout 700ms");
  CHECK(shell.node.last_options().write == Level::All());
  CHECK(shell.node.last_options().durability == Durability::kFsync);
  CHECK(shell.node.last_options().timeout == absl::Milliseconds(700));
  shell.Out("--r 2 set read b k");
  CHECK(shell.node.last_options().read == Level::Count(2));
}

TEST_CASE("dovetail: a token makes a remove exact") {
  Shell shell;
  shell.Out("set add b k x");
  const std::string out = shell.Out("set read b k --token-out");
  REQUIRE(out.rfind("{x}\ntoken: ", 0) == 0);
  const std::string token(absl::StripAsciiWhitespace(out.substr(11)));
  shell.Out("set add b k x");
  shell.Out("set remove b k x --token " + token);
  CHECK(shell.Out("set read b k") == "{x}\n");
  std::string bytes;
  REQUIRE(absl::Base64Unescape(token, &bytes));
  CHECK(ParseToken(absl::BytesToHexString(bytes)).ok());
  const Ran wrong = shell.Do("set remove b other x --token " + token);
  CHECK(wrong.exit == 2);
  CHECK(shell.Do("set remove b k x --token !!").exit == 2);
}

TEST_CASE("dovetail: a large set is read to its end, or page by page") {
  Shell shell;
  for (char c : std::string("abcdefgh")) {
    std::vector<std::string> arguments = {"gset", "add", "b", "k"};
    for (int i = 0; i < 10; ++i) {
      arguments.push_back(std::string(60 << 10, c) + std::to_string(i));
    }
    REQUIRE(shell.With(arguments).exit == 0);
  }
  CHECK(shell.Out("gset read b k").size() > 80 * (60 << 10));
  shell.Out("set add b k a b c d");
  CHECK(shell.Out("set read b k --limit 2") == "{a, b}\n(there is more)\n");
  CHECK(shell.Out("set read b k --limit 2 --after b") == "{c, d}\n");
}

TEST_CASE("dovetail: get shows every type, delete takes one or all") {
  Shell shell;
  CHECK(shell.Out("get b k") == "absent\n");
  shell.Out("set add b k x");
  shell.Out("counter add b k 3");
  shell.Out("counter add b k2 9");
  shell.Out("map b k f:ewflag enable");
  CHECK(shell.Out("get b k") ==
        "set: {x}\ncounter: 3\nmap: {f:ewflag: true}\n");
  CHECK(shell.Out("get b k --json") ==
        "{\"set\":[\"x\"],\"counter\":3,\"map\":{\"f:ewflag\":true}}\n");
  shell.Out("delete b k set");
  CHECK(shell.Out("get b k") == "counter: 3\nmap: {f:ewflag: true}\n");
  shell.Out("delete b k --all");
  CHECK(shell.Out("get b k") == "absent\n");
  CHECK(shell.Out("counter read b k2") == "9\n");
  CHECK(shell.Do("delete b k").exit == 2);
  CHECK(shell.Do("delete b k set --all").exit == 2);
}

TEST_CASE("dovetail: an object expires, persists, and says how long it lives") {
  Shell shell;
  CHECK(shell.Out("ttl shop cart set") == "absent\n");
  shell.Out("set add shop cart milk");
  CHECK(shell.Out("ttl shop cart set") == "never\n");
  CHECK(shell.Out("--json ttl shop cart set") ==
        "{\"ok\":true,\"present\":true}\n");
  CHECK(shell.Out("expire shop cart set 2d") == "ok, 1 acknowledgement\n");
  CHECK(shell.Out("ttl shop cart set").substr(0, 5) == "47h59");
  CHECK(shell.Out("--json ttl shop cart set").find("\"ttl_ms\":1727") !=
        std::string::npos);
  CHECK(shell.Out("--json set read shop cart").find("\"expires_ms\":") !=
        std::string::npos);
  CHECK(shell.Out("persist shop cart set") == "ok, 1 acknowledgement\n");
  CHECK(shell.Out("persist shop cart set") ==
        "ok, 1 acknowledgement; nothing to remove was observed\n");
  CHECK(shell.Out("ttl shop cart set") == "never\n");

  CHECK(shell.Out("register write shop code 1234 --ttl 10m") ==
        "ok, 1 acknowledgement\n");
  CHECK(shell.Out("ttl shop code register").substr(0, 4) == "9m59");
  shell.Out("map users ann city:register write Graz --ttl 1h");
  CHECK(shell.Out("ttl users ann map").substr(0, 5) == "59m59");
  shell.Do("exec",
           "{\"type\":\"set\",\"verb\":\"expire-at\",\"bucket\":"
           "\"shop\",\"key\":\"cart\",\"at_ms\":1}");
  CHECK(shell.Out("set read shop cart") == "{}\n");
  CHECK(shell.Out("ttl shop cart set") == "absent\n");
}

TEST_CASE("dovetail: a time to live that makes no sense is not sent") {
  Shell shell;
  for (const char* ttl : {"0s", "-5s", "5", "x", "99999999999d"}) {
    CAPTURE(ttl);
    CHECK(shell.Do(std::string("expire shop cart set -- ") + ttl).exit == 2);
    CHECK(shell.Do(std::string("set add shop cart x --ttl=") + ttl).exit == 2);
  }
  CHECK(shell.Do("map users ann city:register read --ttl 5s").exit == 2);
  CHECK(shell.Do("expire shop cart lorry 5s").exit == 2);
  const std::string line =
      "{\"type\":\"counter\",\"verb\":\"add\",\"bucket\":\"b\",\"key\":"
      "\"k\",\"amount\":1,\"ttl_ms\":5}";
  CHECK(shell.Do("exec", line).exit == 1);
}

TEST_CASE("dovetail: keys come in order, complete, in pages if asked") {
  Shell shell;
  std::string input;
  for (int i = 0; i < 2500; ++i) {
    input += R"({"type":"counter","verb":"add","bucket":"b","key":"k)" +
             std::to_string(10000 + i) + R"(","amount":1})" + "\n";
  }
  REQUIRE(shell.Do("exec", input).exit == 0);
  shell.Out("set add b k10001 x");
  shell.Out("counter add b other 1");
  const std::vector<std::string> all =
      absl::StrSplit(shell.Out("keys b --prefix k"), '\n', absl::SkipEmpty());
  REQUIRE(all.size() == 2501);
  CHECK(std::is_sorted(all.begin(), all.end(), [](auto& x, auto& y) {
    return x.substr(0, 6) < y.substr(0, 6);
  }));
  const Ran page = shell.Do("keys b --prefix k --limit 2");
  CHECK(page.out == "k10000 counter\nk10001 set\n");
  CHECK(page.error.find("--after k10001 --after-type set") !=
        std::string::npos);
  CHECK(shell.Out("keys b --prefix k --limit 1 --after k10001 "
                  "--after-type set") == "k10001 counter\n");
  CHECK(shell.Out("keys b --prefix k --limit 1 --after k10001") ==
        "k10002 counter\n");
  CHECK(shell.Out("keys b --prefix other --json") ==
        "{\"bucket\":\"b\",\"key\":\"other\",\"type\":\"counter\"}\n");
}

TEST_CASE("dovetail: cluster commands say what is wrong before they do it") {
  Shell shell;
  // This fake node is of before there were such calls.
  const Ran old = shell.Do("cluster status");
  CHECK(old.exit == 1);
  CHECK(old.error.find("does not know this call") != std::string::npos);
  CHECK(shell.Do("cluster").exit == 2);
  CHECK(shell.Do("cluster where b").exit == 2);
  const std::string nowhere =
      (std::filesystem::temp_directory_path() / "dovetail-no-such").string();
  CHECK(Run({"cluster", "stop-local", "--dir", nowhere}).out ==
        "nothing runs in " + nowhere + "\n");
  CHECK(Run({"cluster", "start-local", "33", "--dir", nowhere}).exit == 2);
  const Ran ports = Run({"cluster", "start-local", "3", "--dir", nowhere,
                         "--base-port", "65100"});
  CHECK(ports.exit == 1);
  CHECK(ports.error.find("--base-port 65100") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(nowhere));
}

TEST_CASE("dovetail: status and digest describe the node") {
  Shell shell;
  CHECK(shell.Out("status").find("node fake (0000000000000000), version 0") ==
        0);
  CHECK(shell.Out("status --json").find("\"partitions\":4") !=
        std::string::npos);
  CHECK(shell.Out("digest").find("in 4 partitions of node fake") !=
        std::string::npos);
  CHECK(shell.Out("digest --json").find("\"partition\":3") !=
        std::string::npos);
}

TEST_CASE("dovetail: exit codes tell usage, failure, fate and reach apart") {
  Shell shell;
  CHECK(shell.Do("").exit == 2);
  CHECK(shell.Do("nonsense").exit == 2);
  CHECK(shell.Do("set add b").exit == 2);
  CHECK(shell.Do("set add b k").exit == 2);
  CHECK(shell.Do("counter add b k many").exit == 2);
  CHECK(shell.Do("counter add b k 0").exit == 2);
  CHECK(shell.Do("map b k f:sett add x").error.find("types are register") !=
        std::string::npos);
  CHECK(shell.Do("set read b k --r 0").exit == 2);
  CHECK(shell.Do("set read b k --timeout 5").exit == 2);
  CHECK(shell.Do("set add b k x ++").exit == 2);
  CHECK(shell.Do("--help").exit == 0);
  CHECK(shell.Do("--help").out.find("Exit codes") != std::string::npos);
  CHECK(shell.Do("exec --help").out.find("\"batch\"") != std::string::npos);
  CHECK(Run({"--node", "what", "status"}).exit == 2);
  shell.node.SetBehaviour(Behaviour::kThrow);
  const Ran maybe = shell.Do("counter add b k 1");
  CHECK(maybe.exit == 4);
  CHECK(maybe.error.find("UNAVAILABLE") != std::string::npos);
  CHECK(shell.Do("counter read b k").exit == 1);
  CHECK(shell.Do("counter read b k --json").out.find("\"maybe\":false") !=
        std::string::npos);
  CHECK(shell.Do("counter add b k 1 --json").out.find("\"maybe\":true") !=
        std::string::npos);
  std::string gone;
  {
    FakeNode other;
    gone = other.address();
  }
  const Ran unreachable = Run({"--node", gone, "status"});
  CHECK(unreachable.exit == 3);
  CHECK(unreachable.error.find(gone) != std::string::npos);
}

TEST_CASE("dovetail exec: every form of line gives its result, in order") {
  Shell shell;
  const std::string input =
      R"({"type":"set","verb":"add","bucket":"b","key":"k","elements":["x"]}
{"type":"set","verb":"add","bucket":"b","key":"m","path":["f:set"],"elements":["x","y"]}
{"type":"set","verb":"read","bucket":"b","key":"m","path":["f:set"]}

{"type":"counter","verb":"add","bucket":"b","key":"k","amount":-5}
{"type":"counter","verb":"read","bucket":"b","key":"k"}
{"type":"register","verb":"write","bucket":"b","key":"k","value":{"base64":"/w=="}}
{"type":"register","verb":"read","bucket":"b","key":"k"}
{"type":"set","verb":"remove","bucket":"b","key":"k","elements":["zz"]}
{"type":"set","verb":"read","bucket":"b","key":"k","element":"x"}
{"type":"map","verb":"remove-field","bucket":"b","key":"m","field":"f:set"}
{"type":"map","verb":"read","bucket":"b","key":"m"}
{"batch":[{"type":"counter","verb":"add","bucket":"b","key":"k","amount":1},{"type":"ewflag","verb":"enable","bucket":"b","key":"k"}]}
{"type":"map","verb":"disable","bucket":"b","key":"m","path":["a:map","f:dwflag"]}
{"type":"map","verb":"read","bucket":"b","key":"m"}
{"type":"register","verb":"read","bucket":"b","key":"none"}
{"type":"gset","verb":"delete","bucket":"b","key":"none"}
)";
  const std::string expected =
      R"({"line":1,"ok":true,"not_observed":false,"acks":1}
{"line":2,"ok":true,"not_observed":false,"acks":1}
{"line":3,"ok":true,"present":true,"value":["x","y"]}
{"line":5,"ok":true,"not_observed":false,"acks":1}
{"line":6,"ok":true,"present":true,"value":-5}
{"line":7,"ok":true,"not_observed":false,"acks":1}
{"line":8,"ok":true,"present":true,"value":{"base64":"/w=="}}
{"line":9,"ok":true,"not_observed":true,"acks":1}
{"line":10,"ok":true,"present":true,"value":true}
{"line":11,"ok":true,"not_observed":false,"acks":1}
{"line":12,"ok":true,"present":false,"value":{}}
{"line":13,"ok":true,"not_observed":[false,false],"acks":1}
{"line":14,"ok":true,"not_observed":false,"acks":1}
{"line":15,"ok":true,"present":true,"value":{"a:map":{"f:dwflag":false}}}
{"line":16,"ok":true,"present":false,"value":null}
{"line":17,"ok":true,"not_observed":true,"acks":1}
)";
  for (const char* in_flight : {"1", "3", "256"}) {
    Shell fresh;
    const Ran ran =
        fresh.Do(std::string("exec --in-flight ") + in_flight, input);
    CHECK(ran.exit == 0);
    CHECK(ran.out == expected);
  }
}

TEST_CASE("dovetail exec: a bad line fails alone") {
  Shell shell;
  const std::vector<std::string> bad = {
      "nonsense",
      "[1]",
      R"({"type":"set"})",
      R"({"type":"sett","verb":"add","bucket":"b","key":"k","elements":["x"]})",
      R"({"type":"set","verb":"add","bucket":"b","key":"k"})",
      R"({"type":"set","verb":"add","bucket":"b","key":"k","elements":"x"})",
      R"({"type":"set","verb":"add","bucket":"b","key":"k","elements":[1]})",
      R"({"type":"set","verb":"add","bucket":"b","key":"k","elments":["x"]})",
      R"({"type":"set","verb":"enable","bucket":"b","key":"k"})",
      R"({"type":"counter","verb":"add","bucket":"b","key":"k","amount":1.5})",
      R"({"type":"counter","verb":"add","bucket":"b","key":"k","amount":9223372036854775808})",
      R"({"type":"set","verb":"add","bucket":"b","key":"k","path":["f:counter"],"elements":["x"]})",
      R"({"type":"register","verb":"write","bucket":"b","key":"k","value":{"base64":"*"}})",
      R"({"batch":[]})",
      R"({"batch":[{"type":"set","verb":"read","bucket":"b","key":"k"}]})",
      std::string(100000, '['),
  };
  std::string input;
  for (const std::string& line : bad) input += line + "\n";
  input +=
      R"({"type":"counter","verb":"add","bucket":"b","key":"k","amount":1})";
  const Ran ran = shell.Do("exec", input);
  CHECK(ran.exit == 1);
  CHECK(ran.error.find("16 of 17 lines failed") != std::string::npos);
  const std::vector<std::string> out =
      absl::StrSplit(ran.out, '\n', absl::SkipEmpty());
  REQUIRE(out.size() == 17);
  for (size_t i = 0; i < 16; ++i) {
    CHECK_MESSAGE(out[i].find("\"ok\":false,\"code\":\"INVALID_ARGUMENT\"") !=
                      std::string::npos,
                  out[i]);
  }
  CHECK(out[16] == R"({"line":17,"ok":true,"not_observed":false,"acks":1})");
}

TEST_CASE("dovetail exec: a lost answer is a maybe, and exec goes on") {
  FakeNode first;
  FakeNode second;
  first.SetBehaviour(Behaviour::kServeThenHangUp);
  const std::string line =
      R"({"type":"counter","verb":"add","bucket":"b","key":"k","amount":1})";
  const Ran ran = Run({"--node", first.address() + "," + second.address(),
                       "exec", "--in-flight", "1"},
                      line + "\n" + line + "\n");
  CHECK(ran.exit == 1);
  const std::vector<std::string> out =
      absl::StrSplit(ran.out, '\n', absl::SkipEmpty());
  REQUIRE(out.size() == 2);
  CHECK(out[0].find("\"code\":\"UNAVAILABLE\"") != std::string::npos);
  CHECK(out[0].find("\"maybe\":true") != std::string::npos);
  CHECK(out[1].find("\"ok\":true") != std::string::npos);
}

TEST_CASE("dovetail exec: what it prints for a map it can read again") {
  const View view = [] {
    View out;
    out.type = Type::kMap;
    out.present = true;
    View leaf;
    leaf.type = Type::kSet;
    leaf.values = {"a", std::string("\x80", 1)};
    out.fields = {{{"f", Type::kSet}, leaf},
                  {{std::string("\xfe", 1), Type::kSet}, leaf}};
    return out;
  }();
  CHECK(ViewJson(view) == R"({"f:set":["a",{"base64":"gA=="}],)"
                          R"("base64 /g==:set":["a",{"base64":"gA=="}]})");
}

TEST_CASE("dovetail words: paths, fields and levels say what is wrong") {
  CHECK(ParsePath("a:map/b:c:set")->at(1) == Field{"b:c", Type::kSet});
  CHECK(ParseField("a:b:set")->name == "a:b");
  CHECK_FALSE(ParseField(":set").ok());
  CHECK_FALSE(ParseField("set").ok());
  CHECK_FALSE(ParsePath("a:map/").ok());
  CHECK(*ParseLevel("quorum") == Level::Quorum());
  CHECK_FALSE(ParseLevel("-1").ok());
  CHECK_FALSE(ParseAmount("9223372036854775808").ok());
  CHECK(*ParseAmount("-9223372036854775808") == INT64_MIN);
}

// A file name that nothing has yet, and that goes in the end.
struct SessionFile {
  ~SessionFile() { std::filesystem::remove_all(directory); }
  std::string read() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  const std::filesystem::path directory = [] {
    std::string name =
        (std::filesystem::temp_directory_path() / "dovetail-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    return name;
  }();
  const std::string path = (directory / "session").string();
};

TEST_CASE("dovetail: a session in a file goes on from command to command") {
  Shell shell;
  SessionFile file;
  const std::string with = "--session " + file.path + " ";
  shell.Out(with + "set add shop cart milk");
  const std::string first = file.read();
  CHECK(!first.empty());
  CHECK(shell.node.last_session()->events.empty());

  shell.Out(with + "set read shop cart");
  REQUIRE(shell.node.last_session().has_value());
  CHECK(!shell.node.last_session()->events.empty());
  // What another command saw meanwhile is kept.
  CHECK(shell
            .Do(with + "exec -",
                R"({"type":"counter","verb":"add","bucket":"shop","key":"b",)"
                R"("amount":1})"
                "\n")
            .exit == 0);
  CHECK(file.read().size() > first.size());
  CHECK(shell.Out(with + "get shop cart") == "set: {milk}\n");
  CHECK(shell.Out("set read shop cart") == "{milk}\n");
  CHECK_FALSE(shell.node.last_session().has_value());
  CHECK(shell.Out(with + "keys shop") == "b counter\ncart set\n");
  CHECK(shell.node.last_list_session().size() == 2);
  CHECK(shell.Out("keys shop") == "b counter\ncart set\n");
  CHECK(shell.node.last_list_session().empty());
  // Nothing is left beside it.
  CHECK(std::distance(std::filesystem::directory_iterator(file.directory),
                      std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("dovetail: a file that holds no session is refused, and kept") {
  Shell shell;
  SessionFile file;
  std::ofstream(file.path) << "not a session";
  const Ran ran = shell.Do("--session " + file.path + " set add shop cart x");
  CHECK(ran.exit == 2);
  CHECK(ran.error.find("holds no session") != std::string::npos);
  CHECK(file.read() == "not a session");
  CHECK(shell.Out("set read shop cart") == "{}\n");
  // An empty one, as mktemp makes them, is a new session.
  std::ofstream(file.path, std::ios::trunc).flush();
  shell.Out("--session " + file.path + " set add shop cart x");
  CHECK(!file.read().empty());

  const Ran nowhere = shell.Do("--session /nowhere/at/all set add shop cart y");
  CHECK(nowhere.exit == 4);
  CHECK(nowhere.error.find("what was done is done") != std::string::npos);
}

}  // namespace
}  // namespace dovetail::cli
