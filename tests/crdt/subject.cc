#include "tests/crdt/subject.h"

#include <algorithm>

#include "crdt/check.h"

namespace dovetail::crdt::model {
namespace {

std::vector<Verb> VerbsOf(const Target& target) {
  std::vector<Verb> verbs;
  switch (target.type()) {
    case Type::kRegister:
      verbs = {Verb::kWrite, Verb::kWrite, Verb::kWrite, Verb::kClear};
      break;
    case Type::kMultiValue:
      verbs = {Verb::kWrite, Verb::kWriteBlind, Verb::kWrite, Verb::kClear};
      break;
    case Type::kSet:
    case Type::kRemoveSet:
      verbs = {Verb::kAdd, Verb::kAdd, Verb::kRemove, Verb::kRemove,
               Verb::kClear};
      break;
    case Type::kGrowSet:
      verbs = {Verb::kAdd, Verb::kAdd, Verb::kAdd};
      break;
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      verbs = {Verb::kEnable, Verb::kDisable};
      break;
    case Type::kCounter:
      verbs = {Verb::kAdd, Verb::kAdd, Verb::kAdd, Verb::kReset};
      break;
    case Type::kMap:
      verbs = {Verb::kRemoveField, Verb::kRemoveField, Verb::kRemoveField,
               Verb::kClear};
      break;
    case Type::kExpiry:
      break;  // of no object
  }
  if (target.fields.empty()) verbs.push_back(Verb::kDelete);
  return verbs;
}

Subject Make(std::string name, std::vector<Target> targets) {
  Subject subject{std::move(name), std::move(targets), {}};
  for (const Target& target : subject.targets) {
    if (std::find(subject.objects.begin(), subject.objects.end(),
                  target.object) == subject.objects.end()) {
      subject.objects.push_back(target.object);
    }
  }
  return subject;
}

std::vector<Subject> MakeSubjects() {
  std::vector<Subject> subjects;
  const ObjectId map{"default", "m", Type::kMap};
  std::vector<Target> flat{{map, {}}, {map, {}}};
  std::vector<Target> mixed;
  const Field outer{"o", Type::kMap};
  const Field inner{"i", Type::kMap};
  std::vector<Target> nested{{map, {}}, {map, {outer}}, {map, {outer, inner}}};
  for (const Type type : kAllTypes) {
    const Field field{"f", type};
    const ObjectId object{"default", "k", type};
    if (type == Type::kMap) continue;
    subjects.push_back(Make(std::string(TypeName(type)), {{object, {}}}));
    flat.push_back({map, {field}});
    mixed.push_back({object, {}});
    nested.push_back({map, {outer, field}});
    nested.push_back({map, {outer, inner, field}});
  }
  mixed.push_back({map, {outer, {"s", Type::kSet}}});
  mixed.push_back({map, {{"c", Type::kCounter}}});
  mixed.push_back({map, {}});
  subjects.push_back(Make("map", flat));
  subjects.push_back(Make("nested", nested));
  subjects.push_back(Make("mixed", mixed));
  return subjects;
}

}  // namespace

const std::vector<Subject>& Subjects() {
  static const auto& subjects = *new std::vector<Subject>(MakeSubjects());
  return subjects;
}

const Subject& SubjectNamed(const std::string& name) {
  for (const Subject& subject : Subjects()) {
    if (subject.name == name) return subject;
  }
  DOVETAIL_CHECK(false && "no such subject");
  return Subjects().front();
}

const std::vector<std::string>& Elements() {
  static const auto& elements = *new std::vector<std::string>{
      "a", "b", std::string("a\0b", 3), std::string("\0\x01", 2)};
  return elements;
}

Operation OperationOf(const Subject& subject, const Move& move) {
  const Target& target = subject.targets[move.target % subject.targets.size()];
  const std::vector<Verb> verbs = VerbsOf(target);
  Operation operation;
  operation.object = target.object;
  operation.fields = target.fields;
  operation.verb = verbs[move.verb % verbs.size()];
  const std::vector<std::string>& elements = Elements();
  if (operation.verb == Verb::kDelete) return operation;
  if (HasElements(target.type()) && operation.verb != Verb::kClear) {
    operation.elements.push_back(elements[move.detail % elements.size()]);
    const size_t second = move.detail / elements.size() % elements.size();
    if (move.detail >= 128 && second != move.detail % elements.size()) {
      operation.elements.push_back(elements[second]);
    }
  } else if (operation.verb == Verb::kAdd) {
    operation.amount = static_cast<int64_t>(move.detail % 9) - 4;
    if (operation.amount == 0) operation.amount = 5;
  } else if (operation.verb == Verb::kWrite ||
             operation.verb == Verb::kWriteBlind) {
    operation.value = std::string(1, static_cast<char>('p' + move.detail % 6));
  } else if (operation.verb == Verb::kRemoveField) {
    // The fields that some target has right below this one.
    std::vector<Field> children;
    for (const Target& other : subject.targets) {
      if (other.object == target.object &&
          other.fields.size() > target.fields.size() &&
          std::equal(target.fields.begin(), target.fields.end(),
                     other.fields.begin())) {
        children.push_back(other.fields[target.fields.size()]);
      }
    }
    operation.child = children[move.detail % children.size()];
  }
  return operation;
}

std::string Describe(const Operation& operation) {
  std::string text(VerbName(operation.verb));
  text += " " + ToString(operation.object);
  for (const Field& field : operation.fields) {
    text += "/" + field.name + ":" + std::string(TypeName(field.type));
  }
  for (const std::string& element : operation.elements) text += " " + element;
  if (!operation.value.empty()) text += " " + operation.value;
  if (operation.amount != 0) text += " " + std::to_string(operation.amount);
  if (!operation.child.name.empty()) {
    text += " field " + operation.child.name + ":" +
            std::string(TypeName(operation.child.type));
  }
  if (operation.observed.has_value()) text += " (with a token)";
  return text;
}

}  // namespace dovetail::crdt::model
