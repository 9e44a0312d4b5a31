/* Copies standard input to standard output, in pieces of odd sizes. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    static char piece[70001];
    for (;;) {
        ssize_t len = read(0, piece, sizeof piece);
        if (len <= 0) {
            return len < 0;
        }
        for (ssize_t done = 0; done < len;) {
            ssize_t written = write(1, piece + done, (size_t)(len - done));
            if (written < 0) {
                perror("write");
                return 1;
            }
            done += written;
        }
    }
}
