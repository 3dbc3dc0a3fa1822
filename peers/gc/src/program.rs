//! What a system must offer to run the works: objects with a number and three links.

/// The objects of one system.
pub trait Context {
    /// A handle.
    type Node: Clone;

    /// Whether objects can link back to those that keep them: strongly where cycles are collected, else weakly.
    const BACK: bool = true;

    /// A new object.
    fn make(&self, value: u64, a: Option<Self::Node>, b: Option<Self::Node>) -> Self::Node;
    fn value(&self, node: &Self::Node) -> u64;
    /// Looks at the first link without making a handle, where the system can.
    fn with_a<R>(&self, node: &Self::Node, look: impl FnOnce(Option<&Self::Node>) -> R) -> R;
    fn with_b<R>(&self, node: &Self::Node, look: impl FnOnce(Option<&Self::Node>) -> R) -> R;
    fn set_a(&self, node: &Self::Node, to: Option<Self::Node>);
    fn set_b(&self, node: &Self::Node, to: Option<Self::Node>);
    fn back(&self, node: &Self::Node) -> Option<Self::Node>;
    fn set_back(&self, node: &Self::Node, to: Option<&Self::Node>);

    fn a(&self, node: &Self::Node) -> Option<Self::Node> {
        self.with_a(node, |a| a.cloned())
    }
}

/// What lives from one step to the next.
pub type Roots<N> = Vec<Option<N>>;

/// A work, in steps: between two of them a system may collect.
pub trait Program {
    /// One step; false when it was the last. It finds its objects in the roots.
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool;

    /// Whether it needs links back.
    fn needs_back(&self) -> bool {
        false
    }
}
