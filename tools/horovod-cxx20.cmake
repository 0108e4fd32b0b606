# Horovod sets CMAKE_CXX_STANDARD to 14 in its own scope, after this hook: so the flag behind
# "14" is what changes here.
set(CMAKE_CXX14_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CXX14_EXTENSION_COMPILE_OPTION "-std=gnu++20")
