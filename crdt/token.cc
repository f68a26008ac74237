#include "crdt/token.h"

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

// token = version, bucket:bytes, key:bytes, type:8, scope:bytes,
//         leaves:varint, leaf...
// leaf  = path after the scope:bytes, dots, for a counter a payload per dot
namespace dovetail::crdt {
namespace {

ObservedLeaf ReadObserved(Reader& in, Type leaf_type) {
  ObservedLeaf observed;
  observed.dots = ReadDots(in);
  if (in.ok() && observed.dots.empty()) in.Fail("leaf without dots");
  if (leaf_type != Type::kCounter) return observed;
  for (size_t i = 0; i < observed.dots.size() && in.ok(); ++i) {
    observed.tallies.push_back(std::get<Tally>(ReadPayload(in, leaf_type)));
  }
  return observed;
}

void ReadTokenLeaf(Reader& in, ObservedToken& token) {
  std::string bytes = token.scope.bytes();
  const absl::string_view rest = in.Bytes(kTokenBytesMax);
  bytes.append(rest.data(), rest.size());
  if (!in.ok()) return;
  const absl::StatusOr<ParsedPath> parsed =
      ParseLeafPath(token.object.type, bytes);
  if (!parsed.ok()) {
    in.Fail(parsed.status().message());
    return;
  }
  Path path = Path::FromTrustedBytes(std::move(bytes));
  if (!token.leaves.empty() && path <= token.leaves.rbegin()->first) {
    in.Fail("leaves are not in ascending order");
  }
  ObservedLeaf observed = ReadObserved(in, parsed->leaf_type);
  if (!in.ok()) return;
  token.leaves.emplace_hint(token.leaves.end(), std::move(path),
                            std::move(observed));
}

void ReadScope(Reader& in, ObservedToken& token) {
  token.object.bucket = std::string(in.Bytes(kBucketBytesMax));
  token.object.key = std::string(in.Bytes(kKeyBytesMax));
  const uint8_t byte = in.Byte();
  const absl::string_view scope = in.Bytes(kTokenBytesMax);
  if (!in.ok()) return;
  const std::optional<Type> type = TypeFromByte(byte);
  if (!type) {
    in.Fail(absl::StrCat("unknown type ", byte));
    return;
  }
  token.object.type = *type;
  if (token.object.bucket.empty() || token.object.key.empty()) {
    in.Fail("empty bucket or key");
  }
  if (const auto place = ParsePlace(*type, scope); !place.ok()) {
    in.Fail(place.status().message());
  }
  token.scope = Path::FromTrustedBytes(std::string(scope));
}

}  // namespace

void ObservedToken::Observe(const Path& path, Type leaf_type,
                            const Leaf& leaf) {
  if (leaf.empty()) return;
  leaves.insert_or_assign(path, ObserveLeaf(leaf_type, leaf));
}

ObservedLeaf ObserveLeaf(Type leaf_type, const Leaf& leaf) {
  ObservedLeaf observed;
  observed.dots = leaf.Dots();
  if (leaf_type != Type::kCounter && observed.dots.size() > 1 &&
      DOVETAIL_MUTANT("observe: one dot of several")) {
    observed.dots.resize(1);
  }
  if (leaf_type == Type::kCounter) {
    for (const auto& [dot, payload] : leaf.entries()) {
      observed.tallies.push_back(std::get<Tally>(payload));
    }
  }
  return observed;
}

std::string ObservedToken::Encode() const {
  std::string bytes;
  Writer out(&bytes);
  out.Byte(kCodecVersion);
  out.Bytes(object.bucket);
  out.Bytes(object.key);
  out.Byte(static_cast<uint8_t>(object.type));
  out.Bytes(scope.bytes());
  out.Varint(leaves.size());
  for (const auto& [path, observed] : leaves) {
    DOVETAIL_CHECK(path.HasPrefix(scope));
    out.Bytes(absl::string_view(path.bytes()).substr(scope.bytes().size()));
    AppendDots(out, observed.dots);
    for (const Tally& tally : observed.tallies) AppendPayload(out, tally);
  }
  return bytes;
}

absl::StatusOr<ObservedToken> ObservedToken::Decode(absl::string_view bytes) {
  if (bytes.size() > kTokenBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "observed token is ", bytes.size(), " bytes; the limit is ",
        kTokenBytesMax, " (kTokenBytesMax)"));
  }
  Reader in(bytes);
  ObservedToken token;
  in.ExpectVersion();
  ReadScope(in, token);
  const size_t leaves = in.Count(2 + kDotBytesMin);
  for (size_t i = 0; i < leaves && in.ok(); ++i) ReadTokenLeaf(in, token);
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return token;
}

}  // namespace dovetail::crdt
