#include <stdio.h>

int main(int count, char **arguments) {
    printf("hello from C, %d\n", count);
    return arguments[0] == NULL;
}
