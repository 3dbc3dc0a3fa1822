# Strings in an array, lists sorted and joined, regular expressions, a dictionary of lists.
for {set i 0} {$i < 100000} {incr i} {
    set text([expr {$i % 7000}]) [string repeat x [expr {$i % 90}]]
}
puts [array size text]
puts [string length [join [lsort [array names text]] ,]]
puts [regexp -all {1.} [lsort [array names text]]]
set groups [dict create]
foreach key [lsort -integer [array names text]] { dict lappend groups [string length $text($key)] $key }
puts [dict size $groups]
puts [llength [dict get $groups 7]]
