# Hashes, lists, regular expressions, sorting and growing strings; then the same in threads.
use strict;
use warnings;
use threads;

my $rounds = shift @ARGV;

sub work {
    my ($seed) = @_;
    my $state = $seed;
    my $next = sub { $state = ($state * 1103515245 + 12345) % 2147483648; return $state >> 8 };
    my (%count, %list, @words);
    for my $i (1 .. 60000) {
        my $word = "w" . ($next->() % 9000) . "-" . ("z" x ($next->() % 40));
        push @words, $word;
        $count{$word}++;
        push @{ $list{ length $word } }, { word => $word, at => $i };
    }
    my @order = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    my $text = join ' ', @words;
    my $changed = ($text =~ s/w(\d)(\d*)-z+/<$2:$1>/g);
    my $kept = () = $text =~ /<\d{2,}:[13579]>/g;
    my $grown = '';
    $grown .= chr(97 + $_ % 26) x ($_ % 50) for 1 .. 20000;
    my $sum = unpack '%32C*', $text . $grown;
    my @parts = map { [ split /-/ ] } @order[ 0 .. 99 ];
    my $deep = 0;
    $deep += scalar @{ $list{$_} } * $_ for sort { $a <=> $b } keys %list;
    return join ',', $seed, scalar(@order), $order[0], $changed, $kept, length($grown), $sum, $deep,
        scalar(@parts), scalar reverse($order[-1]);
}

print work($_), "\n" for 1 .. $rounds;
my @threads = map { my $seed = $_; threads->create(sub { return work($seed) }) } 101 .. 103;
print $_->join, "\n" for @threads;
