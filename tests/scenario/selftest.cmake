# Runs PROGRAM in DIRECTORY on the files of NAME and compares what it prints,
# and its exit code, with NAME.out: a runner that cannot fail proves nothing.
if(EXISTS ${DIRECTORY}/${NAME}.args)
  file(STRINGS ${DIRECTORY}/${NAME}.args files)
else()
  set(files ${NAME}.scn)
endif()
execute_process(COMMAND ${PROGRAM} ${files} --storage=${STORAGE}
  WORKING_DIRECTORY ${DIRECTORY}
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE code)
set(output "${output}exit ${code}\n")
file(READ ${DIRECTORY}/${NAME}.out expected)
if(NOT output STREQUAL expected)
  message(FATAL_ERROR "expected:\n${expected}\ngot:\n${output}")
endif()
