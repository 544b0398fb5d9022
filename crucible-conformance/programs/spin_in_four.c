#include <pthread.h>
#include <stddef.h>

static void *spin(void *argument) {
    for (volatile unsigned long n = 0;; n++) {
    }
    return argument;
}

int main(void) {
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&thread, NULL, spin, NULL) != 0) {
            return 1;
        }
    }
    spin(NULL);
}
