"""Turns the report of ctest into the verdict of `./dev test`.

Usage: tally.py REPORT CTEST_EXIT_STATUS

Lists what was skipped (loudly: a skipped test has proved nothing) and what
failed, then prints, as its last line, `N passed, N failed`, with `, N skipped`
if any were. Exit status 0 only if something passed and nothing failed. A test
that could not be run at all counts as failed.
"""

import sys
import xml.etree.ElementTree as ElementTree


def tally(report_xml):
    """Returns (passed, failed, skipped): lists of (name, why)."""
    passed, failed, skipped = [], [], []
    for case in ElementTree.fromstring(report_xml).iter("testcase"):
        name, status = case.get("name"), case.get("status")
        reason = case.find("skipped")
        message = reason.get("message", "") if reason is not None else ""
        if status == "run":
            passed.append((name, ""))
        elif status == "disabled" or message.startswith("SKIP_"):
            skipped.append((name, message))
        else:
            failure = case.find("failure")
            why = failure.get("message", "") if failure is not None else message
            failed.append((name, why or status))
    return passed, failed, skipped


def verdict(passed, failed, skipped):
    line = f"{len(passed)} passed, {len(failed)} failed"
    return line + (f", {len(skipped)} skipped" if skipped else "")


def main():
    report, ctest_status = sys.argv[1], int(sys.argv[2])
    try:
        with open(report, encoding="utf-8", errors="replace") as file:
            passed, failed, skipped = tally(file.read())
    except (OSError, ElementTree.ParseError) as error:
        print(f"no report of the tests: {error}")
        passed, failed, skipped = [], [("ctest", "no report")], []
    # ctest can fail for reasons that no single test shows.
    if ctest_status != 0 and not failed:
        failed.append(("ctest", f"exit status {ctest_status}"))
    if not passed and not failed:
        failed.append(("ctest", "no test was run"))
    print()
    for name, why in skipped:
        print(f"SKIPPED: {name} ({why})")
    for name, why in failed:
        print(f"FAILED: {name} ({why})")
    print(verdict(passed, failed, skipped))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
