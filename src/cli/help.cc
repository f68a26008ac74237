#include "src/cli/help.h"

namespace dovetail::cli {

const char kFooter[] = R"(
Words that start with a dash go behind a double dash:
  dovetail set add shop cart:1 -- -x
Exit codes:
  0  done
  1  failed, without effect (the message says why)
  2  the command line makes no sense; nothing was sent
  3  no node could be reached
  4  failed, but may have taken effect: a deadline or a lost connection
Examples:
  dovetail set add shop cart:1 milk bread
  dovetail --r all set read shop cart:1
  dovetail counter add shop likes -2
  dovetail register write shop code 1234 --ttl 10m
  dovetail expire shop cart:1 set 24h
  dovetail ttl shop cart:1 set
  dovetail map users ann address:map/city:register write Graz
  dovetail get shop cart:1 --json)";

const char kMapFooter[] = R"(
Forms:
  map BUCKET KEY PATH VERB [ARGUMENT...]  a field: PATH is NAME:TYPE/NAME:TYPE...,
                                          VERB one of that type, or of map
  map read BUCKET KEY                     all fields
  map remove BUCKET KEY NAME:TYPE         a field, with all that is in it
  map clear BUCKET KEY                    all fields
  map at BUCKET KEY PATH VERB ...         the first form, for a bucket that is
                                          called read, remove, clear or at)";

const char kExecFooter[] = R"(
A line is one operation or one atomic batch:
  {"type":"set","verb":"add","bucket":"b","key":"k","path":["f:set"],
   "elements":["x","y"]}
  {"batch":[OPERATION,...]}
`path` is optional; with it the object is a map. Verbs: add remove clear write
write-blind enable disable reset remove-field delete expire expire-at persist
read. Besides: "amount" (counter add), "value" (write), "field" (remove-field),
"ttl_ms" (expire), "at_ms" (expire-at, since 1970), "token"; for reads
"element", "after", "limit", "want_token". Bytes that are not UTF-8 are written
{"base64":"..."}. Results come one a line, in the order of the input:
  {"line":1,"ok":true,"not_observed":false,"acks":2}
  {"line":2,"ok":true,"present":true,"value":["x","y"]}
  {"line":3,"ok":false,"code":"UNAVAILABLE","message":"...","maybe":true}
"maybe" says that a failed mutation may have taken effect. Lines run
independently of each other, --in-flight of them at once. Exit code 1 if any
failed.)";

const char kClusterFooter[] = R"(
Changes of the membership are staged, looked at, then committed:
  dovetail cluster replace b e      (or join, leave, weight; more than one)
  dovetail cluster plan
  dovetail cluster commit --epoch 4
Bytes of a plan are estimates: each partition of a node counts the same.)";

const char kBucketFooter[] = R"(
The properties are the options that other commands have for one request:
  --r LEVEL --w LEVEL --quorums sloppy|strict --durability wal|fsync
  --timeout 500ms --value-bytes-max N --ttl 24h
`default` as a value takes one back. What a request says itself wins, but for
value-bytes-max, which is a limit, and --ttl, which goes for new objects. How many replicas a key has (N) is a matter
of the ring and the same for all buckets: dovetail bucket describe shows it.
  dovetail bucket create orders --w all --durability fsync
  dovetail bucket update orders --w default --timeout 1s)";

std::vector<TypeRow> TypeRows() {
  const VerbRow add{"add", "ELEMENT", "add elements"};
  const VerbRow remove{"remove", "ELEMENT", "remove what was observed of them"};
  const VerbRow read{"read", "",
                     "all elements, or a page with --after --limit"};
  const VerbRow contains{"contains", "ELEMENT", "whether an element is there"};
  const VerbRow clear{"clear", "", "remove all that was observed"};
  const VerbRow enable{"enable", "", "make it true"};
  const VerbRow disable{"disable", "", "make it false"};
  const VerbRow read_value{"read", "", "the value"};
  return {
      {"set",
       "sets; a concurrent add wins over a remove",
       {add, remove, read, contains, clear}},
      {"rwset",
       "sets; a concurrent remove wins over an add",
       {add, remove, read, contains, clear}},
      {"gset", "sets that only grow", {add, read, contains}},
      {"counter",
       "counters",
       {{"add", "AMOUNT", "add, or subtract if it is negative"},
        {"reset", "", "take back what was observed"},
        read_value}},
      {"register",
       "registers; the last write wins",
       {{"write", "VALUE", "write a value"}, read_value, clear}},
      {"mv",
       "registers that keep concurrent values",
       {{"write", "VALUE", "replace what was observed"},
        {"write-blind", "VALUE", "add a concurrent value"},
        read_value,
        clear}},
      {"ewflag",
       "flags, false at first; enable wins",
       {enable, disable, read_value}},
      {"dwflag",
       "flags, true at first; disable wins",
       {enable, disable, read_value}},
  };
}

}  // namespace dovetail::cli
