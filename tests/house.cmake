# The house itself: tidiness of the tree, and tests of the tools that judge.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
add_test(NAME "tidy: the source tree"
         COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/tests/tidy.py)
add_test(NAME "tidy: each rule finds a planted fault"
         COMMAND ${Python3_EXECUTABLE} -B
                 ${PROJECT_SOURCE_DIR}/tests/house_test.py)
add_test(NAME "demo: its checks find planted faults"
         COMMAND ${Python3_EXECUTABLE} -B
                 ${PROJECT_SOURCE_DIR}/tests/demo/demo_test.py)
# Real processes: they want the machine for themselves.
if(TARGET dovetaild AND TARGET dovetail)
  add_test(NAME "demo: the kill of any node changes nothing"
           COMMAND ${Python3_EXECUTABLE} -B
                   ${PROJECT_SOURCE_DIR}/tests/real/kill_test.py
                   --bin $<TARGET_FILE_DIR:dovetaild> --runs 2)
  set_tests_properties("demo: the kill of any node changes nothing"
                       PROPERTIES TIMEOUT 900 RUN_SERIAL ON)
  add_test(NAME "docs: the tour of README.md works"
           COMMAND ${Python3_EXECUTABLE} -B
                   ${PROJECT_SOURCE_DIR}/tests/tour_test.py
                   $<TARGET_FILE_DIR:dovetaild>)
  set_tests_properties("docs: the tour of README.md works"
                       PROPERTIES TIMEOUT 180)
endif()
if(TARGET dovetail-scenario)
  add_test(NAME "docs: every example holds"
           COMMAND ${Python3_EXECUTABLE} -B
                   ${PROJECT_SOURCE_DIR}/tests/docs_test.py
                   $<TARGET_FILE:dovetail-scenario>)
endif()
