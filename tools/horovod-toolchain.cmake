# Horovod 0.28.1 asks for C++14; torch >= 2.1 has headers that need C++17, and C++20 spares us the
# bundled FlatBuffers' own std::span, which GCC 14 refuses.  CMake reads this file before the
# project, and the hook that it names right after project(), so that the standard is raised without
# touching Horovod's sources.
set(CMAKE_PROJECT_horovod_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/horovod-cxx20.cmake")
set(CMAKE_CXX_FLAGS_INIT "-include \"${CMAKE_CURRENT_LIST_DIR}/horovod-prelude.h\"")
