<?php
// Arrays, strings, regular expressions, JSON, sorting; Zend's own heap is switched off by the caller.
$rounds = (int) $argv[1];

function work(int $seed): string
{
    $state = $seed;
    $next = function () use (&$state): int {
        $state = ($state * 1103515245 + 12345) % 2147483648;
        return $state >> 8;
    };
    $words = [];
    $count = [];
    for ($index = 0; $index < 50000; $index++) {
        $word = 'w' . $next() % 9000 . '-' . str_repeat('z', $next() % 40);
        $words[] = $word;
        $count[$word] = ($count[$word] ?? 0) + 1;
    }
    ksort($count);
    arsort($count);
    $text = implode(' ', $words);
    $changed = preg_replace('/w(\d)(\d*)-z+/', '<$2:$1>', $text, -1, $number);
    $again = json_decode(json_encode(array_chunk($words, 10)), true);
    $objects = array_map(fn (string $word): object => (object) ['word' => $word, 'size' => strlen($word)], $words);
    $total = array_sum(array_map(fn (object $object): int => $object->size, $objects));
    return implode(',', [$seed, count($count), array_key_first($count), $number, crc32($changed), count($again), $total]);
}

for ($seed = 1; $seed <= $rounds; $seed++) {
    echo work($seed), "\n";
}
