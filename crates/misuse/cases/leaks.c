/* What is left at the end. */
#include "misuse.h"

FAULT(leak_of_a_block, "a block that nobody has a pointer to any more") {
    void *volatile p = take(100, 0x11);
    p = NULL;
    (void)p;
    /* The stack's remains of the pointer go with the calls below. */
    settle(64);
}

FAULT(leak_of_many, "1000 blocks from one place, never freed") {
    for (int i = 0; i < 1000; i++) take(48, 0x11);
    settle(64);
}

FAULT(leak_of_a_large_block, "a large block that is never freed") {
    void *volatile p = take(MIB, 0x11);
    p = NULL;
    (void)p;
    settle(64);
}
