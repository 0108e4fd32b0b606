# Horovod 0.28.1 asks for C++14; torch >= 2.1 has headers that need C++17.  CMake reads this file
# before the project, and the hook that it names right after project(), so that the standard is
# raised without touching Horovod's sources.
set(CMAKE_PROJECT_horovod_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/horovod-cxx17.cmake")
