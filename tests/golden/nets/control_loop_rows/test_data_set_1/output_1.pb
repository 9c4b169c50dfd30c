BrowsJT5ã‰>ƒu	ø(ƒ?5ã‰>ƒu	ø(ƒ?Õ"π?xÌ>b ?fë\@è¢@
1e@≥HŒ@H—Æ@Öò“@Z$'A§hABL)AZ$wA§hgABLyA