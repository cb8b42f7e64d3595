# How every target of the project is made: one set of warnings, sanitizers and definitions, so that
# a folder's CMakeLists.txt says only what it holds and what it may use.

# -Wno-missing-field-initializers: a designated initializer names what it sets and means the defaults
# for the rest; g++ warns about it all the same.
add_library(capstan_compile_options INTERFACE)
target_compile_options(
  capstan_compile_options
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Werror
            -Wno-missing-field-initializers
            $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wnon-virtual-dtor>
            $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>)
target_include_directories(capstan_compile_options INTERFACE ${CMAKE_SOURCE_DIR})
target_link_libraries(capstan_compile_options INTERFACE Threads::Threads)

if(CAPSTAN_SANITIZE)
  add_compile_options(-fsanitize=${CAPSTAN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CAPSTAN_SANITIZE})
endif()
if(CAPSTAN_CRASH_POINTS)
  add_compile_definitions(CAPSTAN_CRASH_POINTS=1)
endif()
if(CAPSTAN_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# capstan_library(NAME SOURCES ... PUBLIC ... PRIVATE ...): a static library capstan_NAME with the
# alias capstan::NAME.
function(capstan_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(capstan_${name} STATIC ${ARG_SOURCES})
  add_library(capstan::${name} ALIAS capstan_${name})
  target_link_libraries(
    capstan_${name}
    PUBLIC ${ARG_PUBLIC}
    PRIVATE capstan_compile_options ${ARG_PRIVATE})
  target_include_directories(capstan_${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# What ThreadSanitizer is for: the programs that say THREADS.
add_custom_target(threaded_tests)

# capstan_test(NAME LABEL unit [THREADS] SOURCES ... LIBS ... [TIMEOUT seconds]): a GoogleTest program
# whose tests appear one by one in CTest under the label. THREADS: threads of ours meet in it.
function(capstan_test name)
  if(NOT CAPSTAN_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "SERIAL;THREADS" "LABEL;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE capstan_compile_options ${ARG_LIBS} GTest::gmock
                                        GTest::gtest_main)
  if(ARG_THREADS)
    add_dependencies(threaded_tests ${name})
  endif()
  include(GoogleTest)
  set(properties LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()
