int descend(volatile char *above) {
    volatile char here[4096];
    here[0] = above[0];
    return descend(here) + here[0];
}

int main(void) {
    char start[1] = {1};
    return descend(start);
}
