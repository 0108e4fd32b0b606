// Included before each C++ source of Horovod 0.28.1 and what it bundles. They use these without
// including them: older compilers' other headers brought them along, GCC 13's and 14's do not.
// <span> tells the bundled FlatBuffers that there is std::span.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
