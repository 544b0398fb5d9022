#include <stdio.h>

int main(void) {
    puts("Hello from C: compiled in one sandbox, run in another.");
    return 0;
}
