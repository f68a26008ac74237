#include "replica/bent_output.h"

#include <algorithm>
#include <utility>

#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// Each kind by itself: what one kind repairs, another needs.
struct Loses {
  bool operator()(const Replicate&) const {
    return DOVETAIL_BUGGIFY("link: a Replicate is lost");
  }
  bool operator()(const Ack&) const {
    return DOVETAIL_BUGGIFY("link: an Ack is lost");
  }
  bool operator()(const Refuse&) const {
    return DOVETAIL_BUGGIFY("link: a Refuse is lost");
  }
  bool operator()(const Summary&) const {
    return DOVETAIL_BUGGIFY("link: a Summary is lost");
  }
  bool operator()(const SyncDeltas&) const {
    return DOVETAIL_BUGGIFY("link: SyncDeltas are lost");
  }
  bool operator()(const ReadQuery&) const {
    return DOVETAIL_BUGGIFY("link: a ReadQuery is lost");
  }
  bool operator()(const ReadAnswer&) const {
    return DOVETAIL_BUGGIFY("link: a ReadAnswer is lost");
  }
  bool operator()(const RangeQuery&) const {
    return DOVETAIL_BUGGIFY("link: a RangeQuery is lost");
  }
  bool operator()(const RangeAnswer&) const {
    return DOVETAIL_BUGGIFY("link: a RangeAnswer is lost");
  }
  bool operator()(const Forward&) const {
    return DOVETAIL_BUGGIFY("link: a Forward is lost");
  }
  bool operator()(const Forwarded&) const {
    return DOVETAIL_BUGGIFY("link: a Forwarded is lost");
  }
  bool operator()(const ListQuery&) const {
    return DOVETAIL_BUGGIFY("link: a ListQuery is lost");
  }
  bool operator()(const ListAnswer&) const {
    return DOVETAIL_BUGGIFY("link: a ListAnswer is lost");
  }
  bool operator()(const PresenceQuery&) const {
    return DOVETAIL_BUGGIFY("link: a PresenceQuery is lost");
  }
  bool operator()(const PresenceAnswer&) const {
    return DOVETAIL_BUGGIFY("link: a PresenceAnswer is lost");
  }
  bool operator()(const CoverQuery&) const {
    return DOVETAIL_BUGGIFY("link: a CoverQuery is lost");
  }
  bool operator()(const CoverAnswer&) const {
    return DOVETAIL_BUGGIFY("link: a CoverAnswer is lost");
  }
};

struct Repeats {
  bool operator()(const Replicate&) const {
    return DOVETAIL_BUGGIFY("link: a Replicate comes twice");
  }
  bool operator()(const Ack&) const {
    return DOVETAIL_BUGGIFY("link: an Ack comes twice");
  }
  bool operator()(const Summary&) const {
    return DOVETAIL_BUGGIFY("link: a Summary comes twice");
  }
  bool operator()(const SyncDeltas&) const {
    return DOVETAIL_BUGGIFY("link: SyncDeltas come twice");
  }
  template <class Other>
  bool operator()(const Other&) const {
    return DOVETAIL_BUGGIFY("link: some other message comes twice");
  }
};

struct Delays {
  bool operator()(const Ack&) const {
    return DOVETAIL_BUGGIFY("link: an Ack comes late");
  }
  bool operator()(const Replicate&) const {
    return DOVETAIL_BUGGIFY("link: a Replicate comes late");
  }
  template <class Other>
  bool operator()(const Other&) const {
    return DOVETAIL_BUGGIFY("link: some other message comes late");
  }
};

}  // namespace

void BendMessages(std::vector<Envelope>& messages,
                  std::vector<Envelope>& next_turn) {
  std::vector<Envelope> sent;
  for (Envelope& envelope : messages) {
    const auto& body = envelope.message.body;
    if (std::visit(Loses(), body)) continue;
    if (std::visit(Repeats(), body)) sent.push_back(envelope);
    const bool late = std::visit(Delays(), body);
    (late ? next_turn : sent).push_back(std::move(envelope));
  }
  if (sent.size() > 1 &&
      DOVETAIL_BUGGIFY("link: peers hear in another order")) {
    std::stable_sort(
        sent.begin(), sent.end(),
        [](const Envelope& a, const Envelope& b) { return a.to > b.to; });
  }
  if (DOVETAIL_BUGGIFY("link: the last message goes first")) {
    std::reverse(sent.begin(), sent.end());
  }
  messages = std::move(sent);
}

}  // namespace dovetail::replica
