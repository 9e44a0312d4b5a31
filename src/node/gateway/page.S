/* The live page's bytes, as they stand in page.html. */
    .section .rodata
    .global page_start
    .global page_end
page_start:
    .incbin PAGE_FILE
page_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
