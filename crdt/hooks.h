// Hooks by which a simulator looks into production code and bends it.
//
//   DOVETAIL_MARK("sync: a gap in the log");
//       A rare branch was taken. A campaign that never takes it has a hole.
//   DOVETAIL_MARK_IF("sync: more than one chunk", chunk.more);
//       The same, with a condition that only a simulator evaluates.
//   if (DOVETAIL_BUGGIFY("sync: a tiny chunk")) ...
//       Rare but legal behaviour, which any correct peer must survive.
//   if (DOVETAIL_MUTANT("the token is ignored")) ...
//       A planted bug, which the simulator must catch.
//   DOVETAIL_TELL("write: ran", id, counter);
//       What happens inside and shows nowhere, but decides whether what shows
//       is right: which of several requests it was that did something.
//
// In every build that ships, the conditions are `false` and the others nothing.
// A simulator builds this code a second time with DOVETAIL_SIMULATION (all but
// the planted bugs), and with DOVETAIL_MUTANTS for those too, and defines the
// functions below. A site is its text: the same text in two places is one site.
//
// Hooks stand in .cc files only: both kinds of build share the headers.
#ifndef DOVETAIL_CRDT_HOOKS_H_
#define DOVETAIL_CRDT_HOOKS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace dovetail::hooks {

enum class Kind { kMark, kBuggify, kMutant };

// Registers itself when the program starts, reached or not, so that the sites
// that were never reached can be named.
struct Site {
  Site(Kind kind, const char* name);

  int id;  // of this process; differs between builds
};

void Mark(const Site& site);
bool Buggify(const Site& site);
bool Mutant(const Site& site);

struct Told {
  const char* what = nullptr;
  std::array<uint64_t, 6> values = {};
};
void Tell(const Told& told);

// A string literal as a template argument.
template <std::size_t N>
struct SiteName {
  consteval SiteName(const char (&name)[N]) {  // NOLINT: implicit by purpose
    for (std::size_t i = 0; i < N; ++i) text[i] = name[i];
  }
  char text[N];
};

// Naming it in a function is enough to have it made before main().
template <Kind kind, SiteName name>
inline const Site kSite(kind, name.text);

}  // namespace dovetail::hooks

// DOVETAIL_SIMULATED and DOVETAIL_MUTATED say whether there are any hooks in
// this build: for what takes more than an `if`.
#ifdef DOVETAIL_SIMULATION
#define DOVETAIL_SIMULATED true
#define DOVETAIL_MARK(name) \
  ::dovetail::hooks::Mark(  \
      ::dovetail::hooks::kSite<::dovetail::hooks::Kind::kMark, name>)
#define DOVETAIL_MARK_IF(name, condition) \
  do {                                    \
    if (condition) DOVETAIL_MARK(name);   \
  } while (false)
#define DOVETAIL_BUGGIFY(name) \
  ::dovetail::hooks::Buggify(  \
      ::dovetail::hooks::kSite<::dovetail::hooks::Kind::kBuggify, name>)
#define DOVETAIL_TELL(name, ...) ::dovetail::hooks::Tell({name, {__VA_ARGS__}})
#else
#define DOVETAIL_SIMULATED false
#define DOVETAIL_MARK(name) static_cast<void>(0)
#define DOVETAIL_MARK_IF(name, condition) \
  static_cast<void>(sizeof((condition) ? 1 : 0))
#define DOVETAIL_BUGGIFY(name) false
#define DOVETAIL_TELL(name, ...) \
  static_cast<void>(sizeof(::dovetail::hooks::Told{name, {__VA_ARGS__}}))
#endif

#ifdef DOVETAIL_MUTANTS
#define DOVETAIL_MUTATED true
#define DOVETAIL_MUTANT(name) \
  ::dovetail::hooks::Mutant(  \
      ::dovetail::hooks::kSite<::dovetail::hooks::Kind::kMutant, name>)
#else
#define DOVETAIL_MUTATED false
#define DOVETAIL_MUTANT(name) false
#endif

#endif  // DOVETAIL_CRDT_HOOKS_H_
