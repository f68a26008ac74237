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
//
// In every build that ships, the first is nothing and the other two are
// `false`. A simulator builds this code a second time with
// DOVETAIL_SIMULATION (marks and buggify sites), and with DOVETAIL_MUTANTS for
// the planted bugs too, and defines the functions below. A site is its text:
// the same text in two places is one site.
//
// Hooks stand in .cc files only: both kinds of build share the headers.
#ifndef DOVETAIL_CRDT_HOOKS_H_
#define DOVETAIL_CRDT_HOOKS_H_

#include <cstddef>

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
#else
#define DOVETAIL_SIMULATED false
#define DOVETAIL_MARK(name) static_cast<void>(0)
#define DOVETAIL_MARK_IF(name, condition) \
  static_cast<void>(sizeof((condition) ? 1 : 0))
#define DOVETAIL_BUGGIFY(name) false
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
